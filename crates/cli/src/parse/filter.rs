//! `--filter key=value`.

use docker_api::query::Filters;
use std::str::FromStr;

/// One filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    key: String,
    value: String,
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((key, value)) = text.split_once('=') else {
            return Err("bad format of filter (expected name=value)".to_owned());
        };
        let key = key.trim().to_lowercase();
        if key.is_empty() {
            return Err(format!("invalid filter '{text}'"));
        }
        Ok(Self { key, value: value.trim().to_owned() })
    }
}

/// All filters of a command.
pub(crate) fn collect(filters: &[Filter]) -> Filters {
    let mut all = Filters::default();
    for Filter { key, value } in filters {
        all.add(key, value);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_a_key_and_a_value() {
        let filter: Filter = " Label = a=b ".parse().unwrap();
        assert_eq!((filter.key.as_str(), filter.value.as_str()), ("label", "a=b"));
        assert_eq!(
            "x".parse::<Filter>(),
            Err("bad format of filter (expected name=value)".to_owned())
        );
        assert_eq!("=x".parse::<Filter>(), Err("invalid filter '=x'".to_owned()));
    }
}
