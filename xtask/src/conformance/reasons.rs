//! Why dhow fails a case: what the repository says of it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::tap::{Cases, Verdict};

/// Lines that begin with `#` are a reason; the cases below have it, each after the name of its suite. One that begins
/// with `#!` is that a case asks for what one runtime alone has: its words, its parts, its options. One with `#?` is that
/// it is a race, which may as well be won.
const LIST: &str = include_str!("reasons.txt");

/// Reasons in their order.
#[derive(Debug)]
pub(super) struct Reasons(Vec<Reason>);

/// What a reason says of its cases besides why they fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// They ask for what one runtime alone has.
    Own,
    /// They may pass.
    Race,
}

/// What a line that is a reason begins with.
const MARKS: [(&str, Kind); 3] = [("# ", Kind::Plain), ("#! ", Kind::Own), ("#? ", Kind::Race)];

/// Why cases fail.
#[derive(Debug)]
struct Reason {
    text: String,
    kind: Kind,
    /// Their names, which begin with their suite's and a space.
    cases: BTreeSet<String>,
}

impl Reasons {
    /// Those in the repository.
    pub(super) fn known() -> Result<Self> {
        Self::read(LIST)
    }

    fn read(list: &str) -> Result<Self> {
        let mut reasons: Vec<Reason> = Vec::new();
        let mut is_open = false;
        for line in list.lines() {
            let mut marks = MARKS.iter();
            match marks.find_map(|(mark, kind)| Some((line.strip_prefix(mark)?, *kind))) {
                Some((more, _)) if is_open => {
                    let reason = reasons.last_mut().context("a reason is open")?;
                    reason.text = format!("{} {more}", reason.text);
                }
                Some((text, kind)) => {
                    reasons.push(Reason { text: text.to_owned(), kind, cases: BTreeSet::new() });
                }
                None => {
                    let reason = reasons.last_mut().context("a case before any reason")?;
                    reason.cases.insert(line.to_owned());
                }
            }
            is_open = line.starts_with('#');
        }
        Ok(Self(reasons))
    }

    /// Whether a case of a suite asks for what one runtime alone has.
    pub(super) fn is_own(&self, suite: &str, case: &str) -> bool {
        let name = format!("{suite} {case}");
        self.0.iter().any(|reason| reason.kind == Kind::Own && reason.cases.contains(&name))
    }

    /// The reasons that a suite's failures have, with them, and the failures that have none.
    pub(super) fn of<'a>(
        &'a self,
        suite: &str,
        cases: &Cases,
    ) -> (Vec<(&'a str, Vec<String>)>, Vec<String>) {
        let failed = cases.iter().filter(|(_, verdict)| **verdict == Verdict::Fails);
        let mut open: BTreeSet<String> = failed.map(|(name, _)| name.clone()).collect();
        let mut told = Vec::new();
        for Reason { text, cases, .. } in &self.0 {
            let has = |name: &String| cases.contains(&format!("{suite} {name}"));
            let these: Vec<String> = open.iter().filter(|name| has(name)).cloned().collect();
            open.retain(|name| !these.contains(name));
            if !these.is_empty() {
                told.push((text.as_str(), these));
            }
        }
        (told, open.into_iter().collect())
    }

    /// Cases of a suite that have a reason and do not fail.
    pub(super) fn stale(&self, suite: &str, cases: &Cases) -> Vec<String> {
        let certain = self.0.iter().filter(|reason| reason.kind != Kind::Race);
        let names = certain.flat_map(|reason| &reason.cases);
        let names = names.filter_map(|name| name.strip_prefix(suite)?.strip_prefix(' '));
        names.filter(|name| cases.get(*name) != Some(&Verdict::Fails)).map(str::to_owned).collect()
    }
}

/// Who passes a case.
pub(super) fn passing<'a>(name: &str, runtimes: &BTreeMap<&'a str, Cases>) -> Vec<&'a str> {
    let passes = |cases: &Cases| cases.get(name) == Some(&Verdict::Passes);
    runtimes.iter().filter(|(_, cases)| passes(cases)).map(|(runtime, _)| *runtime).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_a_reason_or_is_told() {
        let list = "# because\n# of this\nbats a: one\nbats a: two\npython a: three\n#! that\nbats b: four\n#? then\nbats c: five\n";
        let reasons = Reasons::read(list).unwrap();
        let cases = Cases::from([
            ("a: one".to_owned(), Verdict::Fails),
            ("a: two".to_owned(), Verdict::Passes),
            ("a: three".to_owned(), Verdict::Fails),
            ("b: four".to_owned(), Verdict::Fails),
        ]);
        let (told, open) = reasons.of("bats", &cases);
        let expected =
            [("because of this", vec!["a: one".to_owned()]), ("that", vec!["b: four".to_owned()])];
        assert_eq!(told, expected);
        assert_eq!(open, ["a: three"]);
        assert_eq!(reasons.stale("bats", &cases), ["a: two"]);
        let own = ["a: one", "b: four"].map(|case| reasons.is_own("bats", case));
        assert_eq!(own, [false, true]);
        assert!(Reasons::read("bats a: one\n").is_err());
    }

    #[test]
    fn the_list_can_be_read() {
        let Reasons(all) = Reasons::known().unwrap();
        assert!(all.iter().all(|reason| !reason.cases.is_empty()));
    }
}
