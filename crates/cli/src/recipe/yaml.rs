//! A container as a compose file with one service.

use super::settings::{Own, Process};
use crate::template::json;
use docker_api::json::Tree;

/// The file.
pub(super) fn file(own: &Own<'_>) -> String {
    let text = |text: &str| Tree::String(text.to_owned());
    let mut service = vec![
        ("image".to_owned(), text(own.image())),
        ("container_name".to_owned(), text(own.name())),
    ];
    let Process { entrypoint, command } = own.process();
    for (key, words) in [("entrypoint", entrypoint), ("command", command)] {
        if let Some(words) = words {
            let words = words.into_iter().map(Tree::String).collect();
            service.push((key.to_owned(), Tree::Array(words)));
        }
    }
    if own.network().is_none() && !own.settings().iter().any(|s| s.key == "network_mode") {
        // A service has a network of its project otherwise.
        service.push(("network_mode".to_owned(), text("bridge")));
    }
    for setting in own.settings().into_iter().filter(|setting| !setting.key.is_empty()) {
        let path: Vec<&str> = setting.key.split('.').collect();
        put(&mut service, &path, setting.value);
    }
    let name = service_name(own.name());
    let mut all = vec![("services".to_owned(), object(vec![(name, object(service))]))];
    // What is there already, under names that the project is not put in front of.
    let external = |names: Vec<String>| {
        let one = |name: String| (name, object(vec![("external".to_owned(), Tree::Bool(true))]));
        object(names.into_iter().map(one).collect())
    };
    if let Some(network) = own.network() {
        all.push(("networks".to_owned(), external(vec![network.to_owned()])));
    }
    let volumes = own.volumes();
    if !volumes.is_empty() {
        all.push(("volumes".to_owned(), external(volumes)));
    }
    let mut out = String::new();
    block(&mut out, &all, 0);
    out
}

fn object(pairs: Vec<(String, Tree)>) -> Tree {
    Tree::Object(pairs)
}

/// Services have no dots in their names.
fn service_name(name: &str) -> String {
    name.replace('.', "-")
}

/// Sets a field within fields.
pub(super) fn put(pairs: &mut Vec<(String, Tree)>, path: &[&str], value: Tree) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        return pairs.push(((*first).to_owned(), value));
    }
    let at = pairs.iter().position(|(key, _)| key == first);
    let at = at.unwrap_or_else(|| {
        pairs.push(((*first).to_owned(), object(Vec::new())));
        pairs.len() - 1
    });
    if let Some((_, Tree::Object(inner))) = pairs.get_mut(at) {
        put(inner, rest, value);
    }
}

/// Fields below each other. Texts are quoted as in JSON, which YAML reads as well.
fn block(out: &mut String, pairs: &[(String, Tree)], depth: usize) {
    for (key, value) in pairs {
        out.push_str(&"  ".repeat(depth));
        out.push_str(&name(key));
        out.push(':');
        below(out, value, depth + 1);
    }
}

/// The value behind a colon.
fn below(out: &mut String, value: &Tree, depth: usize) {
    if let Some(pairs) = fields(value) {
        out.push('\n');
        return block(out, pairs, depth);
    }
    if let Tree::Array(items) = value
        && !items.is_empty()
    {
        out.push('\n');
        return items.iter().for_each(|item| list_item(out, item, depth));
    }
    out.push_str(&format!(" {}\n", scalar(value)));
}

fn list_item(out: &mut String, item: &Tree, depth: usize) {
    let indent = "  ".repeat(depth);
    let Some(pairs) = fields(item) else {
        return out.push_str(&format!("{indent}- {}\n", scalar(item)));
    };
    let mut inner = String::new();
    block(&mut inner, pairs, depth + 1);
    // The first field stands behind the dash.
    out.push_str(&format!("{indent}- {}", inner.trim_start()));
}

/// The fields of an object that has some.
fn fields(value: &Tree) -> Option<&[(String, Tree)]> {
    if let Tree::Object(pairs) = value
        && !pairs.is_empty()
    {
        return Some(pairs);
    }
    None
}

fn scalar(value: &Tree) -> String {
    if let Tree::String(text) = value {
        // Compose puts variables in behind a dollar.
        return json::plain(&Tree::String(text.replace('$', "$$")));
    }
    json::plain(value)
}

/// A key, which needs quotes only if it could be read as something else.
fn name(key: &str) -> String {
    let starts = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let is_word =
        matches!(key, "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n");
    if starts && plain && !is_word {
        key.to_owned()
    } else {
        json::plain(&Tree::String(key.to_owned()))
    }
}
