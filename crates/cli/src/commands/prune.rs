//! What the prunes share: the question, the requests, and how they tell what went.

use crate::argv::Outcome;
use crate::cx::Cx;
use crate::error::Failure;
use crate::human;
use crate::parse::filter::{Filter, collect};
use docker_api::query::{BuildPrune, Filters};
use docker_api::types::images::DeleteItem;
use std::io::Write as _;
use std::process::ExitCode;

/// What a prune has removed.
#[derive(Debug)]
pub(super) struct Swept {
    heading: &'static str,
    removed: Vec<String>,
    bytes: u64,
}

impl Swept {
    /// What went, with an empty line below; nothing if nothing did.
    fn told(&self) -> String {
        if self.removed.is_empty() {
            return String::new();
        }
        format!("{}\n{}\n\n", self.heading, self.removed.join("\n"))
    }

    /// What went, without a word about space: networks take none.
    pub(super) fn tell_names(&self, cx: &Cx) -> Outcome {
        cx.print(&self.told())?;
        Ok(ExitCode::SUCCESS)
    }

    /// What went, and the space that it gives back.
    pub(super) fn tell(self, cx: &Cx) -> Outcome {
        let mut total = Total::default();
        total.add(cx, &self)?;
        total.tell(cx)
    }
}

/// The space that several prunes give back.
#[derive(Debug, Default)]
pub(super) struct Total(u64);

impl Total {
    /// Tells of one, as soon as it is done.
    pub(super) fn add(&mut self, cx: &Cx, swept: &Swept) -> Result<(), Failure> {
        self.0 = self.0.saturating_add(swept.bytes);
        cx.print(&swept.told())
    }

    pub(super) fn tell(self, cx: &Cx) -> Outcome {
        let bytes = human::float(i64::try_from(self.0).unwrap_or(i64::MAX));
        cx.line(&format!("Total reclaimed space: {}", human::progress_size(bytes)))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The filters of the flags, and those that the user has set for every prune (`pruneFilters`),
/// unless the flags say the contrary.
pub(super) fn filters(cx: &Cx, flags: &[Filter]) -> Filters {
    with_habits(collect(flags), &cx.config.preferences().prune_filters)
}

fn with_habits(mut filters: Filters, habits: &[String]) -> Filters {
    for (key, value) in habits.iter().filter_map(|habit| habit.split_once('=')) {
        let contrary = match key {
            "label" => "label!",
            "label!" => "label",
            _ => "",
        };
        if !value.is_empty() && !filters.contains(contrary, value) {
            filters.add(key, value);
        }
    }
    filters
}

/// Asks before everything of a kind goes; nothing typed means no.
pub(super) fn confirmed(cx: &Cx, warning: &str) -> Result<bool, Failure> {
    cx.print(&format!("{warning}Are you sure you want to continue? [y/N] "))?;
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

/// Which images go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Images {
    /// Those without a name.
    Dangling,
    /// Also those with one that no container was made from.
    Unused,
}

pub(super) async fn containers(cx: &Cx, filters: &Filters) -> Result<Swept, Failure> {
    let pruned = cx.client()?.container_prune(filters).await?;
    Ok(Swept {
        heading: "Deleted Containers:",
        removed: pruned.containers_deleted.unwrap_or_default(),
        bytes: pruned.space_reclaimed,
    })
}

pub(super) async fn images(cx: &Cx, which: Images, filters: &Filters) -> Result<Swept, Failure> {
    let mut filters = filters.clone();
    filters.add("dangling", if which == Images::Unused { "false" } else { "true" });
    let pruned = cx.client()?.image_prune(&filters).await?;
    Ok(Swept {
        heading: "Deleted Images:",
        removed: pruned.images_deleted.iter().flatten().map(image_line).collect(),
        bytes: pruned.space_reclaimed,
    })
}

/// In other words than `rmi` has for the same.
fn image_line(item: &DeleteItem) -> String {
    if item.deleted.is_empty() {
        format!("untagged: {}", item.untagged)
    } else {
        format!("deleted: {}", item.deleted)
    }
}

pub(super) async fn volumes(cx: &Cx, filters: &Filters) -> Result<Swept, Failure> {
    let pruned = cx.client()?.volume_prune(filters).await?;
    Ok(Swept {
        heading: "Deleted Volumes:",
        removed: pruned.volumes_deleted.unwrap_or_default(),
        bytes: pruned.space_reclaimed,
    })
}

pub(super) async fn networks(cx: &Cx, filters: &Filters) -> Result<Swept, Failure> {
    let pruned = cx.client()?.network_prune(filters).await?;
    let removed = pruned.networks_deleted.unwrap_or_default();
    Ok(Swept { heading: "Deleted Networks:", removed, bytes: 0 })
}

pub(super) async fn build_cache(cx: &Cx, options: &BuildPrune) -> Result<Swept, Failure> {
    let pruned = cx.client()?.build_prune(options).await?;
    Ok(Swept {
        heading: "Deleted build cache objects:",
        removed: pruned.caches_deleted.unwrap_or_default(),
        bytes: pruned.space_reclaimed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_do_not_contradict_flags() {
        let flags: Vec<Filter> = vec!["label=a".parse().unwrap(), "label!=b".parse().unwrap()];
        let habits = ["label!=a", "label=b", "label=c", "until=1h", "until", "label="];
        let habits = habits.map(str::to_owned);
        let all = with_habits(collect(&flags), &habits);
        let pairs: Vec<_> = all.iter().collect();
        assert_eq!(pairs, [("label", "a"), ("label", "c"), ("label!", "b"), ("until", "1h")]);
    }
}
