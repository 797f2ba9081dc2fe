//! Who passes what, as the page `docs/oci-conformance.md`: counts, and each case that dhow fails with its reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::reasons::{Reasons, passing};
use super::tap::{Cases, Verdict};

/// What the page begins with.
const PREFACE: &str = include_str!("preface.md");

/// What was found, and with what.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What each runtime calls itself, by its name.
    pub(super) versions: BTreeMap<&'static str, String>,
    /// By suite, with its title, in order, then by runtime.
    pub(super) suites: Vec<(&'static str, &'static str, BTreeMap<&'static str, Cases>)>,
}

impl Report {
    /// As Markdown.
    pub(super) fn page(&self, reasons: &Reasons) -> String {
        let mut text = String::from(PREFACE);
        for (runtime, version) in &self.versions {
            let _ = writeln!(text, "- {runtime}: `{version}`");
        }
        text.push_str("\n| suite | runtime | passes | fails | skipped |\n|---|---|---|---|---|\n");
        for (_, title, runtimes) in &self.suites {
            for (runtime, cases) in runtimes {
                let count = |wanted| cases.values().filter(|verdict| **verdict == wanted).count();
                let (good, bad) = (count(Verdict::Passes), count(Verdict::Fails));
                let skipped = count(Verdict::Skipped);
                let _ = writeln!(text, "| {title} | {runtime} | {good} | {bad} | {skipped} |");
            }
        }
        text.push_str(&self.totals("all", |_, _| true));
        let common = |suite: &str, case: &str| !reasons.is_own(suite, case);
        text.push_str(&self.totals("all, but for what one runtime alone has", common));
        for (suite, title, runtimes) in &self.suites {
            let _ = write!(text, "\n## {title}: what dhow fails\n");
            text.push_str(&failures(suite, runtimes, reasons));
        }
        text
    }

    /// A line for each runtime that has been run through all suites, with those of their cases that count.
    fn totals(&self, title: &str, counts: impl Fn(&str, &str) -> bool) -> String {
        let mut text = String::new();
        for runtime in self.versions.keys() {
            let of = |(suite, _, found): &(&'static str, _, BTreeMap<&'static str, Cases>)| {
                let cases = found.get(runtime)?.iter();
                let cases = cases.filter(|(case, _)| counts(suite, case));
                Some(cases.map(|(_, verdict)| *verdict).collect::<Vec<Verdict>>())
            };
            let Some(all) = self.suites.iter().map(of).collect::<Option<Vec<_>>>() else {
                continue;
            };
            let all = all.concat();
            let count = |wanted| all.iter().filter(|verdict| **verdict == wanted).count();
            let (good, bad) = (count(Verdict::Passes), count(Verdict::Fails));
            let skipped = count(Verdict::Skipped);
            let _ = writeln!(text, "| {title} | {runtime} | {good} | {bad} | {skipped} |");
        }
        text
    }

    /// What the list of reasons lacks, and what it has too much of.
    pub(super) fn complaints(&self, reasons: &Reasons) -> String {
        let mut text = String::new();
        for (suite, _, runtimes) in &self.suites {
            let Some(own) = runtimes.get("dhow") else { continue };
            for name in reasons.of(suite, own).1 {
                let _ = writeln!(text, "  fails without a reason: {suite} {name}");
            }
            for name in reasons.stale(suite, own) {
                let _ = writeln!(text, "  has a reason and does not fail: {suite} {name}");
            }
        }
        text
    }
}

/// Who else passes a case, of so many peers that were run.
fn verdict(passing: &[&str], peers: usize) -> String {
    match (passing, peers) {
        ([], 0) => "no peer was run".to_owned(),
        ([], 1) => "nor does the peer that was run".to_owned(),
        ([], _) => "neither peer passes".to_owned(),
        (passing, _) => format!("{} passes", passing.join(" and ")),
    }
}

/// Reasons of a suite, with their cases, each with who else passes it.
fn failures(suite: &str, runtimes: &BTreeMap<&'static str, Cases>, reasons: &Reasons) -> String {
    let mut text = String::new();
    let Some(own) = runtimes.get("dhow") else { return text };
    let (told, open) = reasons.of(suite, own);
    let unknown = (!open.is_empty()).then_some(("No reason is known.", open));
    for (reason, names) in told.into_iter().chain(unknown) {
        let _ = write!(text, "\n{reason}\n\n");
        for name in names {
            let who = verdict(&passing(&name, runtimes), runtimes.len() - 1);
            let _ = writeln!(text, "- `{name}` ({who})");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_counts_and_who_else_passes_what_fails() {
        let cases = |verdict| Cases::from([("a: one".to_owned(), verdict)]);
        let runtimes = BTreeMap::from([
            ("crun", cases(Verdict::Skipped)),
            ("dhow", cases(Verdict::Fails)),
            ("runc", cases(Verdict::Passes)),
        ]);
        let versions = BTreeMap::from([("dhow", "1".to_owned()), ("youki", "1".to_owned())]);
        let report = Report { versions, suites: vec![("x", "a suite", runtimes)] };
        let reasons = Reasons::known().unwrap();
        let page = report.page(&reasons);
        assert!(page.contains("| a suite | crun | 0 | 0 | 1 |\n| a suite | dhow | 0 | 1 | 0 |\n"));
        assert!(page.contains("| all | dhow | 0 | 1 | 0 |\n"), "{page}");
        assert!(!page.contains("| all | youki"), "{page}");
        assert!(page.ends_with("No reason is known.\n\n- `a: one` (runc passes)\n"), "{page}");
        assert_eq!(report.complaints(&reasons), "  fails without a reason: x a: one\n");
    }

    #[test]
    fn a_peer_that_was_not_run_passes_and_fails_nothing() {
        assert_eq!(verdict(&[], 0), "no peer was run");
        assert_eq!(verdict(&[], 1), "nor does the peer that was run");
        assert_eq!(verdict(&["crun"], 2), "crun passes");
    }
}
