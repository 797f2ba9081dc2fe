//! How to make a container again: as a command line, or as a service of a compose file.
//!
//! Pure. What a container was asked for beyond its image is read from its inspection, in
//! `settings`; how that is written is `words`' and `yaml`'s business.

mod limits;
mod mounts;
mod settings;
mod words;
mod yaml;

use docker_api::json::Tree;
use docker_api::types::containers::ContainerInspect;
use docker_api::types::images::ImageConfig;
use settings::Own;

/// One thing that was asked for: as words of a command line, and as a field of a service, whose
/// name may have dots for fields within fields.
#[derive(Clone, Debug, PartialEq)]
struct Setting {
    words: Vec<String>,
    key: &'static str,
    value: Tree,
}

impl Setting {
    fn new(words: Vec<String>, key: &'static str, value: Tree) -> Self {
        Self { words, key, value }
    }

    /// A flag without a value.
    fn on(flag: &str, key: &'static str) -> Self {
        Self::new(vec![format!("--{flag}")], key, Tree::Bool(true))
    }

    fn text(flag: &str, key: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        Self::new(vec![format!("--{flag}"), value.clone()], key, Tree::String(value))
    }

    fn number(flag: &str, key: &'static str, value: i64) -> Self {
        Self::new(vec![format!("--{flag}"), value.to_string()], key, number(value))
    }

    /// A flag for each.
    fn list(flag: &str, key: &'static str, values: impl IntoIterator<Item = String>) -> Self {
        let values: Vec<String> = values.into_iter().collect();
        let words = values.iter().flat_map(|value| [format!("--{flag}"), value.clone()]).collect();
        Self::new(words, key, Tree::Array(values.into_iter().map(Tree::String).collect()))
    }

    /// A flag for each `key=value`.
    fn map<'p>(
        flag: &str,
        key: &'static str,
        pairs: impl IntoIterator<Item = (&'p String, &'p String)>,
    ) -> Self {
        let (mut words, mut fields) = (Vec::new(), Vec::new());
        for (name, value) in pairs {
            words.extend([format!("--{flag}"), format!("{name}={value}")]);
            fields.push((name.clone(), Tree::String(value.clone())));
        }
        Self::new(words, key, Tree::Object(fields))
    }
}

fn number(value: i64) -> Tree {
    Tree::Number(value.into())
}

/// How a container is to be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// `dhow run …`
    Run,
    /// A compose file with one service.
    Compose,
}

impl std::str::FromStr for Recipe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "run" => Ok(Self::Run),
            "compose" => Ok(Self::Compose),
            _ => Err("it is run or compose".to_owned()),
        }
    }
}

/// Writes a container down. Without its image, everything that it has counts as asked for.
pub(crate) fn write(
    container: &ContainerInspect,
    image: Option<&ImageConfig>,
    style: Recipe,
) -> String {
    let own = Own::new(container, image);
    match style {
        Recipe::Run => words::line(&own),
        Recipe::Compose => yaml::file(&own),
    }
}

#[cfg(test)]
mod tests;
