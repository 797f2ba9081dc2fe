//! Which containers a prune removes.

use engine::view::ContainerView;
use jiff::Timestamp;
use model::moment::{self, moment};

use super::FilterError;
use crate::params::{Filters, Query};

/// Filters of a prune of containers.
#[derive(Debug)]
pub(crate) struct PruneContainers {
    filters: Filters,
    /// Only those that were made until then.
    until: Option<Timestamp>,
}

impl PruneContainers {
    pub(crate) fn parse(query: &Query, now: &moment::Reference) -> Result<Self, FilterError> {
        let filters = query.filters(&["label", "label!", "until"])?;
        let until = match filters.get("until") {
            [] => None,
            [one] => Some(moment(one, now).map_err(|why| {
                let value = one.clone();
                FilterError::Value { key: "until", value, why }
            })?),
            [_, _, ..] => return Err(FilterError::Twice("until")),
        };
        Ok(Self { filters, until })
    }

    pub(crate) fn fits(&self, view: &ContainerView) -> bool {
        self.until.is_none_or(|until| view.created <= until)
            && self.filters.labels_fit(&view.resolved.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use jiff::tz::TimeZone;

    fn parse(filters: &str) -> Result<PruneContainers, String> {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let query = Query::parse(&format!("filters={filters}")).unwrap();
        PruneContainers::parse(&query, &moment::Reference { now, zone: TimeZone::UTC })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn until_is_one_moment() {
        let until = |filters| parse(filters).unwrap().until.map(Timestamp::as_second);
        assert_eq!(until(r#"{"until":{"10m":true}}"#), Some(999_400));
        assert_eq!(until(r#"{"label":{"a":true}}"#), None);
        assert_eq!(
            parse(r#"{"until":["1h","2h"]}"#).unwrap_err(),
            "more than one until filter specified"
        );
        assert!(parse(r#"{"until":["x"]}"#).unwrap_err().starts_with("invalid filter 'until=x'"));
        assert_eq!(parse(r#"{"status":["exited"]}"#).unwrap_err(), "invalid filter 'status'");
    }
}
