//! Who passes what: a table of counts, and every case that dhow fails.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::tap::{Cases, Verdict};

/// By suite, in order, then by runtime.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<(&'static str, BTreeMap<&'static str, Cases>)>);

impl Report {
    pub(super) fn add(&mut self, suite: &'static str, runtime: &'static str, cases: Cases) {
        let at = self.0.iter().position(|(name, _)| *name == suite).unwrap_or_else(|| {
            self.0.push((suite, BTreeMap::new()));
            self.0.len() - 1
        });
        self.0[at].1.insert(runtime, cases);
    }

    /// As Markdown.
    pub(super) fn text(&self) -> String {
        let mut text =
            String::from("| suite | runtime | passes | fails | skipped |\n|---|---|---|---|---|\n");
        for (suite, runtimes) in &self.0 {
            for (runtime, cases) in runtimes {
                let count = |wanted| cases.values().filter(|verdict| **verdict == wanted).count();
                let (good, bad) = (count(Verdict::Passes), count(Verdict::Fails));
                let skipped = count(Verdict::Skipped);
                let _ = writeln!(text, "| {suite} | {runtime} | {good} | {bad} | {skipped} |");
            }
        }
        for (suite, runtimes) in &self.0 {
            let _ = writeln!(text, "\nWhat dhow fails of {suite}:\n");
            for line in failures(runtimes) {
                let _ = writeln!(text, "- {line}");
            }
        }
        text
    }
}

/// A case on each line, with who passes it.
fn failures(runtimes: &BTreeMap<&'static str, Cases>) -> Vec<String> {
    let Some(own) = runtimes.get("dhow") else { return Vec::new() };
    let failed = own.iter().filter(|(_, verdict)| **verdict == Verdict::Fails);
    let line = |name: &String| {
        let passes = |cases: &Cases| cases.get(name) == Some(&Verdict::Passes);
        let others = runtimes.iter().filter(|(_, cases)| passes(cases)).map(|(name, _)| *name);
        let others: Vec<&str> = others.collect();
        let who = if others.is_empty() { "nobody passes it".to_owned() } else { others.join(", ") };
        format!("`{name}` ({who})")
    };
    failed.map(|(name, _)| line(name)).collect()
}
