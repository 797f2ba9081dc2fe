//! The language of `--format` (`model::template`) over what a server has sent.

pub(crate) mod json;
#[cfg(test)]
mod tests;

pub(crate) use model::template::*;

use docker_api::json::Tree;
use std::rc::Rc;

/// Untyped JSON: objects are maps, numbers stay text.
#[must_use]
pub(crate) fn untyped(tree: &Tree) -> Value {
    match tree {
        Tree::Null => Value::Null,
        Tree::Bool(value) => Value::Bool(*value),
        Tree::Number(number) => Value::Number(number.to_string().into()),
        Tree::String(text) => Value::str(text),
        Tree::Array(items) => {
            let items = items.iter().map(untyped).collect();
            Value::List(Rc::new(List { items, elem: Elem::Any }))
        }
        Tree::Object(pairs) => {
            let entries = pairs.iter().map(|(key, value)| (key.clone(), untyped(value))).collect();
            Value::Map(Rc::new(Map { entries, elem: Elem::Any }))
        }
    }
}
