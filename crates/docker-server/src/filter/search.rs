//! Which results of a search are wanted.

use engine::view::Found;

use super::FilterError;
use crate::params::{Filters, Query};

/// Filters of a search.
#[derive(Debug)]
pub(crate) struct Search {
    official: Option<bool>,
    /// Nothing is automated any more: whoever wants that gets nothing.
    automated: Option<bool>,
    stars: i64,
}

impl Search {
    pub(crate) fn parse(query: &Query) -> Result<Self, FilterError> {
        let filters = query.filters(&["is-automated", "is-official", "stars"])?;
        Ok(Self {
            official: filters.boolean("is-official")?,
            automated: filters.boolean("is-automated")?,
            stars: stars(&filters)?,
        })
    }

    pub(crate) fn fits(&self, found: &Found) -> bool {
        self.official.is_none_or(|official| official == found.is_official)
            && self.automated != Some(true)
            && found.star_count >= self.stars
    }
}

/// The largest of those asked for.
fn stars(filters: &Filters) -> Result<i64, FilterError> {
    let number = |value: &String| {
        value.parse::<i64>().map_err(|error| FilterError::Value {
            key: "stars",
            value: value.clone(),
            why: error.to_string(),
        })
    };
    let all = filters.get("stars").iter().map(number).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(filters: &str, found: &Found) -> Result<bool, FilterError> {
        let encoded: String = filters.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let query = Query::parse(&format!("filters={encoded}")).unwrap();
        Ok(Search::parse(&query)?.fits(found))
    }

    #[test]
    fn results_are_chosen_by_stars_and_by_whose_they_are() {
        let found = Found { star_count: 5, is_official: true, ..Found::default() };
        for (filters, expected) in [
            ("{}", true),
            (r#"{"stars":["5"]}"#, true),
            (r#"{"stars":["2","6"]}"#, false),
            (r#"{"is-official":["true"]}"#, true),
            (r#"{"is-official":["false"]}"#, false),
            (r#"{"is-automated":["true"]}"#, false),
            (r#"{"is-automated":["false"]}"#, true),
        ] {
            assert_eq!(fits(filters, &found), Ok(expected), "{filters}");
        }
        assert!(fits(r#"{"stars":["many"]}"#, &found).is_err());
        assert!(fits(r#"{"nonsense":["1"]}"#, &found).is_err());
    }
}
