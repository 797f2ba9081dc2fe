//! A server's JSON, written back in its own order.

use docker_api::json::Tree;
use model::template::write_string;

/// A server's JSON, indented by four spaces a level and in its own order.
pub(crate) fn indented(tree: &Tree, level: usize) -> String {
    let mut out = String::new();
    indent(&mut out, tree, level);
    out
}

fn indent(out: &mut String, tree: &Tree, level: usize) {
    match tree {
        Tree::Null => out.push_str("null"),
        Tree::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Tree::Number(number) => out.push_str(&number.to_string()),
        Tree::String(text) => write_string(out, text),
        Tree::Array(items) if items.is_empty() => out.push_str("[]"),
        Tree::Object(pairs) if pairs.is_empty() => out.push_str("{}"),
        Tree::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                out.push(if i == 0 { '[' } else { ',' });
                new_line(out, level + 1);
                indent(out, item, level + 1);
            }
            new_line(out, level);
            out.push(']');
        }
        Tree::Object(pairs) => {
            for (i, (key, value)) in pairs.iter().enumerate() {
                out.push(if i == 0 { '{' } else { ',' });
                new_line(out, level + 1);
                write_string(out, key);
                out.push_str(": ");
                indent(out, value, level + 1);
            }
            new_line(out, level);
            out.push('}');
        }
    }
}

/// A server's JSON, without white space and in its own order.
pub(crate) fn plain(tree: &Tree) -> String {
    let mut out = String::new();
    write_tree(&mut out, tree);
    out
}

fn write_tree(out: &mut String, tree: &Tree) {
    match tree {
        Tree::Null => out.push_str("null"),
        Tree::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Tree::Number(number) => out.push_str(&number.to_string()),
        Tree::String(text) => write_string(out, text),
        Tree::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                write_tree(out, item);
            }
            out.push(']');
        }
        Tree::Object(pairs) => {
            out.push('{');
            for (i, (key, value)) in pairs.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                write_string(out, key);
                out.push(':');
                write_tree(out, value);
            }
            out.push('}');
        }
    }
}

fn new_line(out: &mut String, level: usize) {
    out.push('\n');
    for _ in 0..level {
        out.push_str("    ");
    }
}
