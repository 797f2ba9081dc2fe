//! Query strings and filters, read as Docker reads them.

use std::collections::BTreeMap;

use docker_api::json::Tree;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;

/// More parameters than any client has to say.
const MAX_PARAMETERS: usize = 1000;

/// Parameters that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ParamError {
    #[error("invalid query: more than {MAX_PARAMETERS} parameters")]
    Many,
    #[error("invalid query: {0:?} is no UTF-8")]
    Encoding(String),
    #[error("invalid value for {key}: {value:?} is no number in range")]
    Number { key: &'static str, value: String },
    #[error("invalid timestamp {0:?}")]
    Moment(String),
    #[error("missing parameter: {0}")]
    Missing(&'static str),
    #[error("invalid filter")]
    Filter,
    #[error("invalid filter '{0}'")]
    UnknownFilter(String),
    #[error("invalid filter '{key}=[{value}]'")]
    FilterValue { key: String, value: String },
}

/// The parameters of a request, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, ParamError> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(ParamError::Many);
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(key)?, decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// The first value of a parameter; an empty one counts as none.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let first = self.0.iter().find(|(name, _)| name == key)?;
        Some(first.1.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
    }

    /// Docker's booleans: anything is true but nothing, `0`, `no`, `false` and `none`.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.flag_or(key, false)
    }

    pub(crate) fn flag_or(&self, key: &str, absent: bool) -> bool {
        let Some((_, value)) = self.0.iter().find(|(name, _)| name == key) else { return absent };
        !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A number, if there is one.
    pub(crate) fn number<T: std::str::FromStr>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, ParamError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let bad = |_| ParamError::Number { key, value: value.to_owned() };
        value.parse().map(Some).map_err(bad)
    }

    /// A number that must be there.
    pub(crate) fn required<T: std::str::FromStr>(
        &self,
        key: &'static str,
    ) -> Result<T, ParamError> {
        self.number(key)?.ok_or(ParamError::Missing(key))
    }

    /// The filters, of which only `known` ones may be there.
    pub(crate) fn filters(&self, known: &[&str]) -> Result<Filters, ParamError> {
        let filters = self.get("filters").map(Filters::parse).transpose()?.unwrap_or_default();
        match filters.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(unknown) => Err(ParamError::UnknownFilter(unknown.clone())),
            None => Ok(filters),
        }
    }
}

fn decode(text: &str) -> Result<String, ParamError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(String::from).map_err(|_| ParamError::Encoding(text.to_owned()))
}

/// Filters by key. Of several values of a key one must fit, of labels all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// `{"key":{"value":true}}`, or as old clients write it `{"key":["value"]}`.
    fn parse(text: &str) -> Result<Self, ParamError> {
        let tree = Tree::parse(text.as_bytes()).map_err(|_| ParamError::Filter)?;
        let Tree::Object(pairs) = tree else { return Err(ParamError::Filter) };
        let mut filters = BTreeMap::new();
        for (key, values) in pairs {
            filters.insert(key, filter_values(values)?);
        }
        Ok(Self(filters))
    }

    /// The values of a filter; empty if it is not there.
    pub(crate) fn get(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Those that are there.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, values)| !values.is_empty()).map(|(key, _)| key.as_str())
    }

    /// Whether a filter is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        !self.get(key).is_empty()
    }

    /// Whether the filter is not there or one of its values fits.
    pub(crate) fn any(&self, key: &str, fits: impl FnMut(&String) -> bool) -> bool {
        !self.has(key) || self.get(key).iter().any(fits)
    }

    /// A filter that is true or false.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, ParamError> {
        let Some(value) = self.get(key).first() else { return Ok(None) };
        match value.as_str() {
            "1" | "true" => Ok(Some(true)),
            "0" | "false" => Ok(Some(false)),
            _ => Err(ParamError::FilterValue { key: key.to_owned(), value: value.clone() }),
        }
    }

    /// Whether labels fit all of `label` and none of `label!`.
    pub(crate) fn labels_fit(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        };
        self.get("label").iter().all(has) && !self.get("label!").iter().any(has)
    }
}

/// Unix seconds, with or without a fraction, or RFC 3339. Zero is no limit. A fraction counts to its ninth digit, as
/// Docker has it: there are clients that put all nanoseconds since 1970 there.
pub(crate) fn moment(text: &str) -> Result<Option<Timestamp>, ParamError> {
    let bad = || ParamError::Moment(text.to_owned());
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Some(at));
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds: i64 = seconds.parse().map_err(|_| bad())?;
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let nanoseconds: i32 = format!("{fraction:0<9.9}").parse().map_err(|_| bad())?;
    if (seconds, nanoseconds) == (0, 0) {
        return Ok(None);
    }
    Timestamp::new(seconds, nanoseconds).map(Some).map_err(|_| bad())
}

fn filter_values(values: Tree) -> Result<Vec<String>, ParamError> {
    match values {
        Tree::Array(values) => values
            .into_iter()
            .map(|value| match value {
                Tree::String(text) => Ok(text),
                Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Array(_) | Tree::Object(_) => {
                    Err(ParamError::Filter)
                }
            })
            .collect(),
        Tree::Object(pairs) => {
            let on = |pair: &(String, Tree)| pair.1 == Tree::Bool(true);
            Ok(pairs.into_iter().filter(on).map(|(value, _)| value).collect())
        }
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::String(_) => Err(ParamError::Filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).unwrap()
    }

    #[test]
    fn moments_have_three_forms() {
        let at = |text: &str| moment(text).unwrap().map(|at| at.to_string());
        assert_eq!(at("1795295870").unwrap(), "2026-11-21T21:17:50Z");
        assert_eq!(at("1795295870.5").unwrap(), "2026-11-21T21:17:50.5Z");
        assert_eq!(at("1795295870.000000001").unwrap(), "2026-11-21T21:17:50.000000001Z");
        assert_eq!(at("2026-11-21T21:17:50+01:00").unwrap(), "2026-11-21T20:17:50Z");
        assert_eq!(at("1795295870.1795295870500000000").unwrap(), "2026-11-21T21:17:50.179529587Z");
        assert_eq!(at("0"), None);
        assert_eq!(at("0.0000000009"), None);
        for bad in ["x", "1.", "1.x", "1.0000000001x", "1.-5", "99999999999999"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn booleans_are_dockers() {
        for (text, want) in [
            ("", false),
            ("f", false),
            ("f=", false),
            ("f=0", false),
            ("f=No", false),
            ("f=FALSE", false),
            ("f=none", false),
            ("f=1", true),
            ("f=true", true),
            ("f=2", true),
            ("f=off", true),
        ] {
            assert_eq!(query(text).flag("f"), want, "{text}");
        }
        assert!(query("").flag_or("f", true));
        assert!(!query("f=0").flag_or("f", true));
    }

    #[test]
    fn values_are_decoded() {
        let query = query("a=1&a=%2Fb+c&b=%3D");
        assert_eq!(query.all("a"), ["1", "/b c"]);
        assert_eq!(query.get("b"), Some("="));
        assert_eq!(query.get("c"), None);
        assert_eq!(Query::parse("a=%ff").unwrap_err(), ParamError::Encoding("%ff".into()));
        assert_eq!(Query::parse(&"a&".repeat(1001)).unwrap_err(), ParamError::Many);
    }

    #[test]
    fn numbers_are_judged() {
        assert_eq!(query("t=-1").number::<i64>("t"), Ok(Some(-1)));
        assert_eq!(query("t=").number::<i64>("t"), Ok(None));
        assert!(query("h=65536").number::<u16>("h").is_err());
        assert_eq!(query("").required::<u16>("h"), Err(ParamError::Missing("h")));
    }

    #[test]
    fn filters_have_two_forms() {
        let new = query(r#"filters={"a":{"x":true,"y":true,"z":false}}"#).filters(&["a"]).unwrap();
        let old = query(r#"filters={"a":["x","y"]}"#).filters(&["a"]).unwrap();
        assert_eq!(new, old);
        assert_eq!(new.get("a"), ["x", "y"]);
        assert!(new.any("b", |_| false));
        assert!(!new.any("a", |_| false));
    }

    #[test]
    fn bad_filters_are_refused() {
        for (text, want) in [
            ("{", "invalid filter"),
            ("[]", "invalid filter"),
            (r#"{"a":1}"#, "invalid filter"),
            (r#"{"a":[1]}"#, "invalid filter"),
            (r#"{"foo":["x"]}"#, "invalid filter 'foo'"),
        ] {
            let error = query(&format!("filters={text}")).filters(&["a"]).unwrap_err();
            assert_eq!(error.to_string(), want, "{text}");
        }
    }

    #[test]
    fn all_labels_must_fit() {
        let labels =
            BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())]);
        let fits = |text: &str| {
            let filters = query(&format!("filters={text}")).filters(&["label", "label!"]).unwrap();
            filters.labels_fit(&labels)
        };
        assert!(fits(r#"{"label":["a","b"]}"#));
        assert!(fits(r#"{"label":["a=1"]}"#));
        assert!(!fits(r#"{"label":["a=2"]}"#));
        assert!(!fits(r#"{"label":["a","c"]}"#));
        assert!(!fits(r#"{"label!":["a=1"]}"#));
        assert!(fits(r#"{"label!":["a=2"]}"#));
    }
}
