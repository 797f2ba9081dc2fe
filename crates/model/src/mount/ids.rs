//! Whose ids the files of a mount have in a container: the word `idmap`.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whose ids the files of a mount have in a container.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Ids {
    /// A bind has the host's, a volume the container's: the same, unless that has a user namespace.
    #[default]
    Host,
    /// What `idmap` said in the first records that had the word: who has files on the host has them in
    /// the container's user namespace.
    Container,
    /// `idmap`: the source's owner on the host is the container's user, and the other way round.
    Owner,
    /// `idmap=uids=…;gids=…`
    Mapped(IdMapping),
}

/// Ids of files, and what they are in a container. Where one of the two has nothing, all are what they are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdMapping {
    /// Of users.
    pub uids: Vec<IdSpan>,
    /// Of groups.
    pub gids: Vec<IdSpan>,
}

/// Ids that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdSpan {
    /// The first, as files have it.
    pub file: u32,
    /// What that is shown as.
    pub shown: u32,
    /// How many.
    pub count: u32,
    /// Whose number `shown` is.
    pub frame: Frame,
}

/// Whose numbers are meant, where a container has a user namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Frame {
    /// The host's.
    Host,
    /// `@`: the container's.
    Container,
}

/// A word that is no `idmap`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid idmap: {0:?}: uids=FILE-SHOWN-COUNT#…;gids=… is known, with no id twice")]
pub struct ParseIdsError(String);

/// As many lines as the kernel takes in the file of a map, with room for those of any length.
const MOST: usize = 100;

impl Ids {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The word as one of several: `None` if it is another one.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Result<Self, ParseIdsError>> {
        match word.strip_prefix("idmap")? {
            "" => Some(Ok(Self::Owner)),
            rest => rest.strip_prefix('=').map(str::parse),
        }
    }
}

impl FromStr for Ids {
    type Err = ParseIdsError;

    /// What stands behind `idmap=`; nothing is the word alone.
    fn from_str(text: &str) -> Result<Self, ParseIdsError> {
        if text.is_empty() {
            return Ok(Self::Owner);
        }
        let bad = || ParseIdsError(text.to_owned());
        let mut mapping = IdMapping::default();
        for part in text.split(';') {
            let (key, value) = part.split_once('=').ok_or_else(bad)?;
            let side = match key {
                "uids" => &mut mapping.uids,
                "gids" => &mut mapping.gids,
                _ => return Err(bad()),
            };
            if !side.is_empty() {
                return Err(bad());
            }
            *side = spans(value).ok_or_else(bad)?;
        }
        Ok(Self::Mapped(mapping))
    }
}

fn spans(text: &str) -> Option<Vec<IdSpan>> {
    let spans: Vec<IdSpan> = text.split('#').map(span).collect::<Option<_>>()?;
    let is_apart = |a: &IdSpan, b: &IdSpan| {
        let apart = |a: u32, b: u32, a_count: u32, b_count: u32| {
            u64::from(a) + u64::from(a_count) <= u64::from(b)
                || u64::from(b) + u64::from(b_count) <= u64::from(a)
        };
        apart(a.file, b.file, a.count, b.count)
            && (a.frame != b.frame || apart(a.shown, b.shown, a.count, b.count))
    };
    let mut pairs =
        spans.iter().enumerate().flat_map(|(n, a)| spans[n + 1..].iter().map(move |b| (a, b)));
    (spans.len() <= MOST && pairs.all(|(a, b)| is_apart(a, b))).then_some(spans)
}

fn span(text: &str) -> Option<IdSpan> {
    let mut numbers = text.split('-');
    let shown = |text: &str| match text.strip_prefix('@') {
        Some(rest) => Some((rest.parse().ok()?, Frame::Container)),
        None => Some((text.parse().ok()?, Frame::Host)),
    };
    let first = numbers.next()?;
    // Podman has the mark in front of the three.
    let (first, marked) = match first.strip_prefix('@') {
        Some(rest) => (rest, true),
        None => (first, false),
    };
    let file = first.parse().ok()?;
    let (shown, frame) = shown(numbers.next()?)?;
    let frame = if marked { Frame::Container } else { frame };
    let count: u32 = numbers.next()?.parse().ok()?;
    let fits = |from: u32| count > 0 && from.checked_add(count).is_some();
    (numbers.next().is_none() && fits(file) && fits(shown)).then_some(IdSpan {
        file,
        shown,
        count,
        frame,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(word: &str) -> Result<Ids, String> {
        Ids::of_word(word).unwrap().map_err(|error| error.to_string())
    }

    #[test]
    fn ids_are_mapped_one_by_one_or_in_runs() {
        let span = |file, shown, count, frame| IdSpan { file, shown, count, frame };
        assert_eq!(read("idmap"), Ok(Ids::Owner));
        assert_eq!(
            read("idmap=uids=0-1000-1#1-@5-10;gids=@0-7-1"),
            Ok(Ids::Mapped(IdMapping {
                uids: vec![span(0, 1000, 1, Frame::Host), span(1, 5, 10, Frame::Container)],
                gids: vec![span(0, 7, 1, Frame::Container)],
            }))
        );
        assert_eq!(Ids::of_word("idmapped"), None);
        assert_eq!(Ids::of_word("ro"), None);
    }

    #[test]
    fn what_cannot_be_a_map_is_refused() {
        for word in [
            "uids",
            "uids=",
            "uids=1",
            "uids=1-2",
            "uids=1-2-3-4",
            "uids=a-2-3",
            "uids=1-2-0",
            "uids=4294967295-0-1",
            "uids=0-1-1#0-2-1",
            "uids=0-1-1#2-1-1",
            "uids=0-5-3#9-7-1",
            "uids=0-1-1;uids=1-2-1",
            "pids=0-1-1",
            ";",
            "uids=-1-2-3",
        ] {
            let said = read(&format!("idmap={word}")).unwrap_err();
            assert!(said.contains("invalid idmap") && said.contains(word), "{word}: {said}");
        }
    }
}
