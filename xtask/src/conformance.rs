//! Suites that others have written for OCI runtimes, against dhow and its peers.

mod expected;
mod facts;
mod mirror;
mod report;
mod runtime;
mod sources;
mod suites;
mod tap;
mod validation;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use crate::{host, packages};
use report::Report;
use runtime::Runtime;
use tap::{Cases, Verdict};

pub(crate) use validation::{PACKAGES, check};

/// A suite: its name, and how a runtime does in it.
type Suite = (&'static str, fn(&Runtime) -> Result<Cases>);

const SUITES: [Suite; 3] =
    [("validation", of_programs), ("runc", suites::of_runc), ("crun", suites::of_crun)];

/// Runs the suites whose names are given, or all, and writes who passes what.
///
/// # Errors
/// A suite cannot be had or built.
pub(crate) fn run(dhow: &Path, wanted: &[&str]) -> Result<()> {
    packages::install(&[PACKAGES, suites::PACKAGES].concat())?;
    let dhow = sources::text(dhow);
    let mut report = Report::default();
    for (name, suite) in
        SUITES.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name))
    {
        for (runtime, words) in
            [("dhow", &[&*dhow, "oci"][..]), ("runc", &["runc"]), ("crun", &["crun"])]
        {
            host::say(&format!("{name}: {runtime}"));
            let _alone = validation::alone_on_this_host()?;
            let before = runtime::groups();
            let tested = Runtime::new(runtime, words)?;
            let cases = suite(&tested);
            tested.clean()?;
            runtime::remove_new(&before);
            report.add(name, runtime, cases?);
        }
    }
    let path = sources::kept().join("results.md");
    std::fs::write(&path, report.text())?;
    host::say(&format!("{}\nwritten to {}", report.text(), path.display()));
    Ok(())
}

fn of_programs(runtime: &Runtime) -> Result<Cases> {
    let results = validation::run(runtime)?;
    let verdict = |(name, found): (&String, &BTreeSet<String>)| {
        if validation::is_good(name, found) { Verdict::Passes } else { Verdict::Fails }
    };
    Ok(results.iter().map(|result| (result.0.clone(), verdict(result))).collect())
}
