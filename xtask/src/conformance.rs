//! Suites that others have written for OCI runtimes, against dhow and its peers.

mod expected;
mod facts;
mod kept;
mod mirror;
mod peers;
mod reasons;
mod report;
mod runtime;
mod sources;
mod suites;
mod tap;
mod validation;

use std::path::Path;

use anyhow::{Result, bail};

use crate::host;
use kept::Place;
use reasons::Reasons;
use report::Report;
use runtime::Runtime;
use sources::text;
use tap::Cases;

pub(crate) use validation::{PACKAGES, check};

/// What was found, for people.
const PAGE: &str = "docs/oci-conformance.md";

/// Files of tests, of which each can be run against a runtime.
struct Suite {
    name: &'static str,
    title: &'static str,
    /// Their names. What they are made of is made.
    files: fn() -> Result<Vec<String>>,
    /// What one says, in the Test Anything Protocol.
    run: fn(&Runtime, &str) -> Result<String>,
}

const SUITES: [Suite; 3] = [
    Suite {
        name: "validation",
        title: "the OCI's validation programs",
        files: validation::files,
        run: validation::tap,
    },
    Suite { name: "bats", title: "runc's suite", files: suites::runc_files, run: suites::of_runc },
    Suite {
        name: "python",
        title: "crun's suite",
        files: suites::crun_files,
        run: suites::of_crun,
    },
];

/// A runtime's name, and the words that its command line begins with.
type Peer = (&'static str, Vec<String>);

/// Runs what begins with one of the words `SUITE/RUNTIME/FILE`, or all that has not been run, and writes who passes
/// what.
///
/// # Errors
/// A suite cannot be had or built, or a failure of dhow has no reason.
pub(crate) fn run(dhow: &Path, wanted: &[&str]) -> Result<()> {
    let dhow = &kept::copy(dhow)?;
    let peers: [Peer; 3] = [
        ("dhow", vec![text(dhow), "oci".to_owned()]),
        ("runc", vec![text(&peers::program("runc")?)]),
        ("crun", vec![text(&peers::program("crun")?)]),
    ];
    let mut report = Report::default();
    for suite in SUITES {
        let files = (suite.files)()?;
        for peer in &peers {
            let place = |file| Place { suite: suite.name, runtime: peer.0, file };
            let due = files.iter().map(|file| place(file));
            for place in due.filter(|place| is_due(*place, wanted, peer)) {
                run_one(&suite, peer, place)?;
            }
        }
        let all = |runtime| -> Option<Cases> {
            let cases = |file| Place { suite: suite.name, runtime, file }.cases();
            let cases = files.iter().map(|file| cases(file)).collect::<Option<Vec<Cases>>>()?;
            Some(cases.into_iter().flatten().collect())
        };
        let found = peers.iter().filter_map(|(name, _)| Some((*name, all(name)?))).collect();
        report.suites.push((suite.name, suite.title, found));
    }
    for (name, words) in &peers {
        report.versions.insert(*name, peers::version(words)?);
    }
    told(&report)
}

/// What is named is run again; if nothing is, what has not been run since the runtime has changed.
fn is_due(place: Place<'_>, wanted: &[&str], peer: &Peer) -> bool {
    match wanted {
        [] => !place.is_newer_than(Path::new(&peer.1[0])),
        names => names.iter().any(|name| place.name().starts_with(name)),
    }
}

fn run_one(suite: &Suite, peer: &Peer, place: Place<'_>) -> Result<()> {
    let _alone = validation::alone_with(peer.0)?;
    let runtime = Runtime::new(peer.0, &called(suite, peer))?;
    let output = (suite.run)(&runtime, place.file);
    runtime.clean()?;
    let output = output?;
    host::say(&format!("{}: {}", place.name(), tap::told(&tap::cases(place.file, &output))));
    place.keep(&output)
}

/// How a suite calls a runtime. dhow is called runc in runc's suite, as on a host where it is in runc's place.
fn called(suite: &Suite, peer: &Peer) -> Vec<String> {
    match (suite.name, peer) {
        ("bats", ("dhow", words)) => ["-a", "runc", &words[0]].map(str::to_owned).to_vec(),
        (_, (_, words)) => words.clone(),
    }
}

/// Writes the page, with those runtimes in a suite that have been run through it.
fn told(report: &Report) -> Result<()> {
    let reasons = Reasons::known()?;
    let page = report.page(&reasons);
    std::fs::write(host::workspace().join(PAGE), page)?;
    host::say(&format!("written: {PAGE}"));
    let complaints = report.complaints(&reasons);
    if complaints.is_empty() {
        return Ok(());
    }
    bail!("xtask/src/conformance/reasons.txt does not say what was found:\n{complaints}")
}
