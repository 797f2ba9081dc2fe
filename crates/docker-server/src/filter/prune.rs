//! What a prune removes.

use engine::view::{ContainerView, ImageView, NetworkView, VolumeView};
use jiff::Timestamp;
use model::moment::{self, moment};

use super::FilterError;
use crate::params::{Filters, ParamError, Query};
use crate::quirks::ApiVersion;

/// Docker's mark of a volume that nobody named.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

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
        Ok(Self { until: until(&filters, now)?, filters })
    }

    pub(crate) fn fits(&self, view: &ContainerView) -> bool {
        self.until.is_none_or(|until| view.created <= until)
            && self.filters.labels_fit(&view.resolved.labels)
    }
}

/// Filters of a prune of images.
#[derive(Debug)]
pub(crate) struct PruneImages {
    filters: Filters,
    /// Only those that were made until then; one that does not say when was not.
    until: Option<Timestamp>,
    /// Only those without a tag, which is the default.
    dangling: bool,
}

impl PruneImages {
    pub(crate) fn parse(query: &Query, now: &moment::Reference) -> Result<Self, FilterError> {
        let filters = query.filters(&["dangling", "label", "label!", "until"])?;
        let dangling = only(&filters, "dangling")?.unwrap_or(true);
        Ok(Self { until: until(&filters, now)?, dangling, filters })
    }

    pub(crate) fn fits(&self, view: &ImageView) -> bool {
        let is_old = |until| view.created.is_some_and(|created| created <= until);
        self.until.is_none_or(is_old)
            && (!self.dangling || view.tags.is_empty())
            && self.filters.labels_fit(&view.config.config.labels)
    }
}

/// Filters of a prune of volumes.
#[derive(Debug)]
pub(crate) struct PruneVolumes {
    filters: Filters,
    /// Not only those that nobody named.
    all: bool,
}

impl PruneVolumes {
    pub(crate) fn parse(query: &Query, api: ApiVersion) -> Result<Self, FilterError> {
        let filters = query.filters(&["all", "label", "label!"])?;
        let all = only(&filters, "all")?.unwrap_or(!api.prunes_anonymous_volumes());
        Ok(Self { all, filters })
    }

    pub(crate) fn fits(&self, view: &VolumeView) -> bool {
        (self.all || view.labels.contains_key(ANONYMOUS)) && self.filters.labels_fit(&view.labels)
    }
}

/// Filters of a prune of networks.
#[derive(Debug)]
pub(crate) struct PruneNetworks {
    filters: Filters,
    /// Only those that were made until then.
    until: Option<Timestamp>,
}

impl PruneNetworks {
    pub(crate) fn parse(query: &Query, now: &moment::Reference) -> Result<Self, FilterError> {
        let filters = query.filters(&["label", "label!", "until"])?;
        Ok(Self { until: until(&filters, now)?, filters })
    }

    pub(crate) fn fits(&self, view: &NetworkView) -> bool {
        self.until.is_none_or(|until| view.created <= until)
            && self.filters.labels_fit(&view.labels)
    }
}

/// Filters of a prune of a builder's cache, of which there is none.
pub(crate) fn check_build_prune(query: &Query) -> Result<(), FilterError> {
    query.filters(&[
        "description",
        "id",
        "inuse",
        "label",
        "label!",
        "parent",
        "private",
        "shared",
        "type",
        "until",
        "unused-for",
    ])?;
    Ok(())
}

fn until(filters: &Filters, now: &moment::Reference) -> Result<Option<Timestamp>, FilterError> {
    match filters.get("until") {
        [] => Ok(None),
        [one] => moment(one, now).map(Some).map_err(|why| {
            let value = one.clone();
            FilterError::Value { key: "until", value, why }
        }),
        [_, _, ..] => Err(FilterError::Twice("until")),
    }
}

/// A filter that is true or false, and not both.
fn only(filters: &Filters, key: &'static str) -> Result<Option<bool>, FilterError> {
    match filters.get(key) {
        [_, _, ..] => {
            let value = filters.get(key).join(" ");
            Err(ParamError::FilterValue { key: key.to_owned(), value }.into())
        }
        _ => Ok(filters.boolean(key)?),
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

    #[test]
    fn only_anonymous_volumes_go_unless_all_are_asked_for() {
        let fits = |filters: &str, api: &str, labels: &[&str]| {
            let query = Query::parse(&format!("filters={filters}")).unwrap();
            let view = VolumeView {
                name: "v".to_owned(),
                mountpoint: "/v".into(),
                created: Timestamp::UNIX_EPOCH,
                labels: labels.iter().map(|l| ((*l).to_owned(), String::new())).collect(),
                options: std::collections::BTreeMap::new(),
                used_by: Vec::new(),
            };
            PruneVolumes::parse(&query, api.parse().unwrap()).map(|wanted| wanted.fits(&view))
        };
        assert_eq!(fits("{}", "1.42", &[]), Ok(false));
        assert_eq!(fits("{}", "1.42", &[ANONYMOUS]), Ok(true));
        assert_eq!(fits("{}", "1.41", &[]), Ok(true), "older clients know no other way");
        assert_eq!(fits(r#"{"all":{"1":true}}"#, "1.51", &[]), Ok(true));
        assert_eq!(fits(r#"{"all":["true"],"label":["a"]}"#, "1.51", &[]), Ok(false));
        for bad in [r#"{"all":["maybe"]}"#, r#"{"all":["1","0"]}"#, r#"{"dangling":["1"]}"#] {
            assert!(fits(bad, "1.51", &[]).is_err(), "{bad}");
        }
    }
}
