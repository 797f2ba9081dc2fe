//! Which images of a list are wanted, and under which of their names.

use engine::view::ImageView;
use jiff::Timestamp;
use model::Reference;
use model::moment::{self, moment};

use super::FilterError;
use super::glob::Glob;
use crate::params::{Filters, Query};

/// Filters of images.
#[derive(Debug)]
pub(crate) struct Images {
    filters: Filters,
    dangling: Option<bool>,
    /// The earliest of them counts.
    until: Option<Timestamp>,
    references: Vec<Glob>,
}

impl Images {
    pub(crate) fn parse(query: &Query, now: &moment::Reference) -> Result<Self, FilterError> {
        let known = ["before", "dangling", "label", "label!", "reference", "since", "until"];
        let filters = query.filters(&known)?;
        let read = |value: &String| {
            moment(value, now).map_err(|why| {
                let value = value.clone();
                FilterError::Value { key: "until", value, why }
            })
        };
        let until: Result<Vec<Timestamp>, FilterError> =
            filters.get("until").iter().map(read).collect();
        let until = until?.into_iter().min();
        let glob = |pattern: &String| {
            Glob::parse(pattern).ok_or_else(|| FilterError::Value {
                key: "reference",
                value: pattern.clone(),
                why: "syntax error in pattern".to_owned(),
            })
        };
        let references = filters.get("reference").iter().map(glob).collect::<Result<_, _>>()?;
        Ok(Self { dangling: filters.boolean("dangling")?, until, references, filters })
    }

    /// The image before which others must have been made, and the one after which.
    pub(crate) fn boundaries(&self) -> (Option<&String>, Option<&String>) {
        (self.filters.get("before").first(), self.filters.get("since").first())
    }

    /// The image with those of its names that are wanted; `None` if it is not wanted, as far as it
    /// alone decides that.
    pub(crate) fn select(&self, mut view: ImageView) -> Option<ImageView> {
        let is_old_enough =
            self.until.is_none_or(|until| view.created.unwrap_or(Timestamp::UNIX_EPOCH) < until);
        let is_wanted = is_old_enough
            && self.fits_dangling(&view)
            && self.filters.labels_fit(&view.config.config.labels);
        if !is_wanted {
            return None;
        }
        if self.filters.has("reference") {
            view.tags.retain(|name| self.fits_reference(name));
            view.digests.retain(|name| self.fits_reference(name));
        }
        let has_names = !view.tags.is_empty() || !view.digests.is_empty();
        (has_names || !self.filters.has("reference")).then_some(view)
    }

    /// Those without a tag are dangling; one that has a digest is not hidden for it.
    fn fits_dangling(&self, view: &ImageView) -> bool {
        match self.dangling {
            None => true,
            Some(true) => view.tags.is_empty(),
            Some(false) => !view.tags.is_empty() || !view.digests.is_empty(),
        }
    }

    fn fits_reference(&self, name: &str) -> bool {
        let Ok(reference) = name.parse::<Reference>() else { return false };
        self.references.iter().any(|glob| reference_fits(glob, &reference))
    }
}

/// A glob over the name as people write it, with and without its tag.
fn reference_fits(glob: &Glob, reference: &Reference) -> bool {
    glob.fits(&reference.familiar_name()) || glob.fits(&reference.familiar())
}

#[cfg(test)]
mod tests {
    use engine::view::ImageView;
    use jiff::tz::TimeZone;

    use super::*;

    fn image(tags: &[&str], digests: &[&str]) -> ImageView {
        let config = r#"{"architecture":"amd64","os":"linux","config":{"Labels":{"a":"1"}},"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ImageView {
            id: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
            tags: texts(tags),
            digests: texts(digests),
            created: Some(Timestamp::from_second(1000).unwrap()),
            size: 0,
            manifest: format!("sha256:{}", "1".repeat(64)).parse().unwrap(),
            manifest_type: String::new(),
            manifest_size: 0,
            packed: 0,
            containers: 0,
            config: serde_json::from_str(config).unwrap(),
            tagged: None,
            parent: None,
        }
    }

    fn select(filters: &str, view: ImageView) -> Result<Option<Vec<String>>, FilterError> {
        let now = Timestamp::from_second(2000).unwrap();
        let now = moment::Reference { now, zone: TimeZone::UTC };
        let query = Query::parse(&format!("filters={filters}")).unwrap();
        let selected = Images::parse(&query, &now)?.select(view);
        Ok(selected.map(|view| view.tags.into_iter().chain(view.digests).collect()))
    }

    #[test]
    fn only_names_that_fit_are_shown() {
        let tags = ["busybox:1", "busybox:2", "a/b:1"];
        for (filter, want) in [
            ("{}", Some(&tags[..])),
            (r#"{"reference":["busybox"]}"#, Some(&tags[..2])),
            (r#"{"reference":["*:2","a/*"]}"#, Some(&tags[1..])),
            (r#"{"reference":["nosuch"]}"#, None),
        ] {
            let want = want.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(select(filter, image(&tags, &[])).unwrap(), want, "{filter}");
        }
    }

    #[test]
    fn dangling_images_have_no_tag() {
        let digest = format!("a@sha256:{}", "1".repeat(64));
        for (tags, digests, (dangling, not)) in [
            (&[][..], &[][..], (true, false)),
            (&["a:1"], &[], (false, true)),
            (&[], &[digest.as_str()], (true, true)),
        ] {
            for (filter, want) in [("true", dangling), ("false", not)] {
                let filters = format!(r#"{{"dangling":["{filter}"]}}"#);
                let selected = select(&filters, image(tags, digests)).unwrap();
                assert_eq!(selected.is_some(), want, "{tags:?} {filter}");
            }
        }
    }

    #[test]
    fn until_takes_times_and_durations() {
        for (until, want) in
            [("10m", true), ("17m", false), ("1001", true), ("1000", false), ("1970-01-02", true)]
        {
            let filters = format!(r#"{{"until":["{until}"]}}"#);
            assert_eq!(select(&filters, image(&["a:1"], &[])).unwrap().is_some(), want, "{until}");
        }
        let error = select(r#"{"until":["x"]}"#, image(&[], &[])).unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid filter 'until=x': failed to parse value as time or duration: \"x\""
        );
    }

    #[test]
    fn references_fit_globs_within_a_segment() {
        for (pattern, name, want) in [
            ("busybox", "busybox:1", true),
            ("busy*", "busybox:1", true),
            ("busy*:l*", "busybox:latest", true),
            ("*", "a/b:1", false),
            ("*/*", "a/b:1", true),
            ("a?b", "a/b:1", false),
            ("busybox:2", "busybox:1", false),
            ("b*b*x:*", "busybbox:1", true),
            ("b*bx*", "bbbb", false),
            ("", "busybox:1", false),
            ("busybox:[0-9]", "busybox:1", true),
        ] {
            let (glob, reference) = (Glob::parse(pattern).unwrap(), name.parse().unwrap());
            assert_eq!(reference_fits(&glob, &reference), want, "{pattern} {name}");
        }
        let error = select(r#"{"reference":["[a"]}"#, image(&["a:1"], &[])).unwrap_err();
        assert_eq!(error.to_string(), "invalid filter 'reference=[a': syntax error in pattern");
    }
}
