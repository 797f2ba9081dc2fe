//! A JSON value that keeps the order and the repetition of keys, so that both can be judged.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::JsonError;

/// Any JSON value, objects as lists of pairs in the order of the text.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, not yet judged for range.
    Number(serde_json::Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Tree>),
    /// An object.
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// Parses a text that must be exactly one JSON value.
    pub fn parse(text: &[u8]) -> Result<Self, JsonError> {
        let mut source = serde_json::Deserializer::from_slice(text);
        let tree = Self::deserialize(&mut source).map_err(|e| match e.classify() {
            serde_json::error::Category::Eof => JsonError::Eof,
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Data
            | serde_json::error::Category::Io => JsonError::Syntax(e.to_string()),
        })?;
        source.end().map_err(|_| JsonError::Trailing)?;
        Ok(tree)
    }

    /// Takes a field out of an object, whatever the case of its name. Absent fields, and fields
    /// of something that is no object, give `None`.
    pub fn take(&mut self, name: &str) -> Option<Self> {
        let Self::Object(pairs) = self else { return None };
        let at = pairs.iter().position(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(pairs.remove(at).1)
    }

    /// Refuses an object that holds one of `names` twice, whatever the case.
    pub fn refuse_duplicate_fields(&self, names: &[&str]) -> Result<(), JsonError> {
        let Self::Object(pairs) = self else { return Ok(()) };
        for name in names {
            let second = pairs.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).nth(1);
            if let Some((key, _)) = second {
                return Err(JsonError::Duplicate(key.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn refuse_duplicates(&self) -> Result<(), JsonError> {
        self.duplicate().map_or(Ok(()), |path| Err(JsonError::Duplicate(path)))
    }

    /// The path of the first key that occurs twice in one object.
    fn duplicate(&self) -> Option<String> {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => None,
            Self::Array(items) => items
                .iter()
                .enumerate()
                .find_map(|(i, item)| item.duplicate_under(&format!("[{i}]"))),
            Self::Object(pairs) => repeated(pairs)
                .map(str::to_owned)
                .or_else(|| pairs.iter().find_map(|(key, value)| value.duplicate_under(key))),
        }
    }

    fn duplicate_under(&self, part: &str) -> Option<String> {
        self.duplicate().map(|rest| join(part, &rest))
    }
}

fn repeated(pairs: &[(String, Tree)]) -> Option<&str> {
    let mut seen = std::collections::HashSet::with_capacity(pairs.len());
    pairs.iter().map(|(key, _)| key.as_str()).find(|key| !seen.insert(*key))
}

/// Joins two parts of a path: a key is set off by a dot, an index is not.
pub(super) fn join(head: &str, rest: &str) -> String {
    if rest.is_empty() || head.is_empty() || rest.starts_with('[') {
        format!("{head}{rest}")
    } else {
        format!("{head}.{rest}")
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Tree, E> {
        Ok(Tree::Number(v.into()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Tree, E> {
        Ok(Tree::Number(v.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Tree, E> {
        let number = serde_json::Number::from_f64(v).ok_or_else(|| E::custom("not a number"))?;
        Ok(Tree::Number(number))
    }

    fn visit_str<E>(self, v: &str) -> Result<Tree, E> {
        Ok(Tree::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Tree, E> {
        Ok(Tree::String(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Tree::Object(pairs))
    }
}
