//! What the validation programs are expected to find with dhow on a host, and how that differs from what they found.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use super::facts::Host;
use super::validation::{PASS, Results};

/// A program and a result on each line, reasons in lines that begin with `#`. A line that does not hold everywhere
/// ends with its condition in brackets.
const LIST: &str = include_str!("validation.txt");

/// Stands for the results of a program that races with itself.
const ANYTHING: &str = "anything";

/// What is expected of dhow on a host.
#[derive(Debug, Default)]
pub(super) struct Expected {
    results: Results,
    /// Programs whose results on such a host are not in the list.
    unknown: BTreeSet<String>,
}

impl Expected {
    /// By the list in the repository.
    pub(super) fn on(host: &Host) -> Result<Self> {
        Self::read(LIST, host)
    }

    fn read(list: &str, host: &Host) -> Result<Self> {
        let mut expected = Self::default();
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            let (rest, holds) = match line.strip_suffix(']').and_then(|line| line.rsplit_once(" ["))
            {
                Some((rest, condition)) => (rest, host.meets(condition)),
                None => (line, Some(true)),
            };
            let holds = holds.with_context(|| format!("an unknown condition: {line}"))?;
            let (name, result) = rest
                .split_once(' ')
                .with_context(|| format!("a program without a result: {line}"))?;
            if holds {
                expected.results.entry(name.to_owned()).or_default().insert(result.to_owned());
            } else {
                expected.unknown.insert(name.to_owned());
            }
        }
        let Self { results, unknown } = &mut expected;
        unknown.retain(|name| !results.contains_key(name));
        Ok(expected)
    }

    /// Which programs are not judged, to be said, or nothing.
    pub(super) fn not_judged(&self, host: &Host) -> Option<String> {
        let names: Vec<&str> = self.unknown.iter().map(String::as_str).collect();
        (!names.is_empty()).then(|| {
            format!(
                "not judged, since xtask/src/conformance/validation.txt has no results of theirs for this host \
                 ({}): {}",
                host.told(),
                names.join(", ")
            )
        })
    }

    /// Says what has changed, either way, and returns how many of those judged have found nothing wrong.
    pub(super) fn compare(&self, found: &Results) -> Result<usize> {
        let is_open = |name: &str| {
            let anything = self.results.get(name).is_some_and(|all| all.contains(ANYTHING));
            anything || self.unknown.contains(name)
        };
        let lines = |all: &Results| -> BTreeSet<String> {
            let line = |(name, results): (&String, &BTreeSet<String>)| {
                results.iter().map(|result| format!("{name} {result}")).collect::<Vec<_>>()
            };
            all.iter().filter(|(name, _)| !is_open(name)).flat_map(line).collect()
        };
        let (wanted, judged) = (lines(&self.results), lines(found));
        let mut changes = String::new();
        for line in wanted.difference(&judged) {
            let _ = writeln!(changes, "  expected: {line}");
        }
        for line in judged.difference(&wanted) {
            let _ = writeln!(changes, "  found:    {line}");
        }
        for name in self.unknown.iter().filter(|name| !found.contains_key(*name)) {
            let _ = writeln!(changes, "  expected: {name}, with any result");
        }
        if !changes.is_empty() {
            bail!(
                "the OCI's validation programs do not find what xtask/src/conformance/validation.txt says:\n{changes}"
            )
        }
        Ok(judged.iter().filter(|line| line.ends_with(&format!(" {PASS}"))).count())
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::host;
    use super::*;

    fn found(text: &str) -> Results {
        Results::from([("one".to_owned(), BTreeSet::from([text.to_owned()]))])
    }

    fn read(list: &str) -> Result<Expected> {
        Expected::read(list, &host(&["v1"], (6, 1)))
    }

    #[test]
    fn a_result_that_changes_either_way_is_told() {
        assert_eq!(read("one pass").unwrap().compare(&found("pass")).unwrap(), 1);
        let told = read("one not ok: x").unwrap().compare(&found("pass")).unwrap_err().to_string();
        assert!(told.ends_with("  expected: one not ok: x\n  found:    one pass\n"), "{told}");
        assert!(read("one anything").unwrap().compare(&found("not ok: x")).is_ok());
        assert!(read("").unwrap().compare(&found("pass")).is_err());
        assert!(read("one pass").unwrap().compare(&Results::new()).is_err());
    }

    #[test]
    fn a_line_holds_where_its_condition_does() {
        let list = "# why\none ends with 1 [if v1]\none pass [unless v1]\n";
        let expected = read(list).unwrap();
        assert!(expected.compare(&found("ends with 1")).is_ok());
        assert!(expected.compare(&found("pass")).is_err());
        assert_eq!(expected.not_judged(&host(&[], (6, 1))), None);
        let told = read("one pass [if v2]").unwrap_err().to_string();
        assert_eq!(told, "an unknown condition: one pass [if v2]");
    }

    #[test]
    fn a_program_without_a_line_for_the_host_is_named_and_not_judged() {
        let expected = read("one pass [if selinux]\none ends with 2 [if linux>=6.8]\n").unwrap();
        assert!(expected.compare(&found("not ok: x")).is_ok());
        let told = expected.compare(&Results::new()).unwrap_err().to_string();
        assert!(told.ends_with("  expected: one, with any result\n"), "{told}");
        let told = expected.not_judged(&host(&["v1"], (6, 1))).unwrap();
        assert!(told.contains("Linux 6.1 with v1, without CAP_SYS_RESOURCE"), "{told}");
        assert!(told.ends_with(": one"), "{told}");
    }

    #[test]
    fn the_list_can_be_read() {
        let everything = Expected::on(&host(&[], (0, 0))).unwrap();
        assert!(everything.results.len() > 30 && !everything.unknown.is_empty());
    }
}
