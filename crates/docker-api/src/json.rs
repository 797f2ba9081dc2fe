//! Reads JSON as Go's `encoding/json` does where Docker's clients depend on it.
//!
//! Field names match without regard to case, `null` is the same as absence, and unknown fields are
//! tolerated but reported. Stricter than Go in two places: a key given twice is refused (two
//! readers of one body must not see two different requests), and so is anything behind the value.
//! Errors name the place: `HostConfig.Memory: …`.

mod de;
mod tree;

use serde::de::DeserializeOwned;

pub use tree::Tree;

/// A value, and the fields of its source that no type knew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed<T> {
    /// What was read.
    pub value: T,
    /// Paths of unknown fields, in the order of the source: `HostConfig.NoSuchField`.
    pub unknown: Vec<String>,
}

/// Why a text is not the JSON that was expected.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum JsonError {
    /// The text ended before the value did.
    #[error("got EOF while reading JSON")]
    Eof,
    /// The text is not JSON.
    #[error("{0}")]
    Syntax(String),
    /// There is something behind the value.
    #[error("unexpected content after JSON")]
    Trailing,
    /// One object has a key twice, perhaps in different case.
    #[error("duplicate key {0}")]
    Duplicate(String),
    /// The JSON is well formed, but its shape or a number's range is wrong.
    #[error("{}{what}", place(path))]
    Shape {
        /// Where, as a dotted path; empty for the whole text.
        path: String,
        /// What is wrong there.
        what: String,
    },
}

impl JsonError {
    /// The same error, seen from the object that holds the value as `name`.
    #[must_use]
    pub fn under(self, name: &str) -> Self {
        match self {
            Self::Duplicate(path) => Self::Duplicate(tree::join(name, &path)),
            Self::Shape { path, what } => Self::Shape { path: tree::join(name, &path), what },
            Self::Eof | Self::Syntax(_) | Self::Trailing => self,
        }
    }
}

fn place(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

/// Reads one value and insists that nothing but white space follows it.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<Parsed<T>, JsonError> {
    from_tree(Tree::parse(text)?)
}

/// Reads a reply, dropping the list of unknown fields, which a newer server may send.
///
/// Servers spell names as the API does, so a reply is read straight into its type: the tree of a
/// list of 300 containers takes longer to make than all else that `ps` does. Where that fails, as
/// it does for `null` in place of a text, the tree decides, and words the error.
pub fn parse_reply<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    match serde_json::from_slice(text) {
        Ok(value) => Ok(value),
        Err(_) => Ok(parse(text)?.value),
    }
}

/// Reads a value out of a tree that was parsed before.
pub fn from_tree<T: DeserializeOwned>(tree: Tree) -> Result<Parsed<T>, JsonError> {
    tree.refuse_duplicates()?;
    let mut unknown = Vec::new();
    let value = T::deserialize(de::Reader::new(tree, &mut unknown, None))
        .map_err(de::Failure::into_error)?;
    Ok(Parsed { value, unknown })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Outer {
        image: String,
        #[serde(rename = "HostConfig")]
        host: Inner,
        cmd: Option<Vec<String>>,
        labels: BTreeMap<String, String>,
        signed: i64,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Inner {
        auto_remove: bool,
        memory: i64,
        pids_limit: Option<i64>,
    }

    fn read(text: &str) -> Result<Parsed<Outer>, JsonError> {
        parse(text.as_bytes())
    }

    fn refused(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn names_match_in_any_case_at_every_depth() {
        let got = read(r#"{"image":"a","hostconfig":{"AUTOREMOVE":true}}"#).unwrap();
        assert_eq!(got.value.image, "a");
        assert!(got.value.host.auto_remove);
        assert_eq!(got.unknown, Vec::<String>::new());
    }

    #[test]
    fn null_is_absence_for_every_kind() {
        let text =
            r#"{"Image":null,"HostConfig":null,"Cmd":null,"Labels":{"a":null},"Signed":null}"#;
        let got = read(text).unwrap().value;
        let labels = BTreeMap::from([("a".to_owned(), String::new())]);
        assert_eq!(got, Outer { labels, ..Outer::default() });
        assert_eq!(read("null").unwrap().value, Outer::default());
    }

    #[test]
    fn a_reply_reads_as_leniently_as_a_request() {
        let text = r#"{"Image":null,"HostConfig":{"Memory":7,"New":1},"Labels":{"a":"b"}}"#;
        assert_eq!(parse_reply::<Outer>(text.as_bytes()).unwrap(), read(text).unwrap().value);
        let strict = r#"{"Image":"i","HostConfig":{"Memory":7}}"#;
        assert_eq!(parse_reply::<Outer>(strict.as_bytes()).unwrap(), read(strict).unwrap().value);
        let wrong = br#"{"HostConfig":{"Memory":"7"}}"#;
        let error = parse_reply::<Outer>(wrong).unwrap_err().to_string();
        assert!(error.starts_with("HostConfig.Memory: "), "{error}");
    }

    #[test]
    fn map_keys_keep_their_case() {
        let got = read(r#"{"labels":{"A":"1","a":"2"}}"#).unwrap().value;
        assert_eq!(got.labels.len(), 2);
    }

    #[test]
    fn unknown_fields_are_named_by_path() {
        let got = read(r#"{"Nope":1,"HostConfig":{"Memry":{"x":[1]},"Memory":3}}"#).unwrap();
        assert_eq!(got.unknown, ["Nope", "HostConfig.Memry"]);
        assert_eq!(got.value.host.memory, 3);
    }

    #[test]
    fn twice_is_refused_also_in_another_case_or_in_unknown_parts() {
        assert_eq!(refused(r#"{"Image":"a","image":"b"}"#), "duplicate key image");
        assert_eq!(
            refused(r#"{"HostConfig":{"Memory":1,"Memory":2}}"#),
            "duplicate key HostConfig.Memory"
        );
        assert_eq!(refused(r#"{"x":[{"y":1,"y":2}]}"#), "duplicate key x[0].y");
        assert_eq!(refused(r#"{"Labels":{"a":"1","a":"2"}}"#), "duplicate key Labels.a");
    }

    #[test]
    fn wrong_shapes_name_the_place() {
        for (text, want) in [
            (
                r#"{"HostConfig":{"Memory":"x"}}"#,
                r#"HostConfig.Memory: invalid type: string "x", expected i64"#,
            ),
            (r#"{"HostConfig":{"Memory":1e99}}"#, "HostConfig.Memory: 1e+99 is no 64-bit integer"),
            (r#"{"Cmd":["a",{}]}"#, "Cmd[1]: invalid type: map, expected a string"),
            (r#"{"Labels":[]}"#, "Labels: invalid type: sequence, expected a map"),
            (r"[]", "invalid type: sequence, expected struct Outer"),
        ] {
            assert_eq!(refused(text), want);
        }
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        assert_eq!(read("").unwrap_err(), JsonError::Eof);
        assert_eq!(read(r#"{"Image":"#).unwrap_err(), JsonError::Eof);
        assert_eq!(read("{}{}").unwrap_err(), JsonError::Trailing);
        assert_eq!(read("{} x").unwrap_err(), JsonError::Trailing);
        assert!(matches!(read("{x}").unwrap_err(), JsonError::Syntax(_)));
        assert!(matches!(read(r#"{"Signed":NaN}"#).unwrap_err(), JsonError::Syntax(_)));
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}{}", r#"{"a":"#.repeat(4000), "}".repeat(4000));
        assert!(matches!(read(&deep).unwrap_err(), JsonError::Syntax(_)));
    }
}
