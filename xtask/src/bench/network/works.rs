//! What is done on a network: names asked for, another network joined, many containers started and removed.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::super::engines::Engine;
use super::super::table::{Better, Tables};
use super::{Bench, NETWORK, Side, probe};
use crate::host;

/// What a container of these cases is called.
const NAMED: &str = "bench-named";
/// The second network.
const SECOND: &str = "bench-second";
/// Containers on one network.
const MANY: usize = 100;
/// Seconds of questions.
const ASKED: &str = "2";

/// All of them.
pub(super) fn measure(
    bench: &Bench,
    engines: [&Engine; 2],
    rounds: u32,
    tables: &mut Tables,
) -> Result<()> {
    for engine in engines {
        engine.ok(&["network", "create", SECOND])?;
        engine.ok(&[
            "run",
            "-d",
            "--network",
            NETWORK,
            "--name",
            NAMED,
            "busybox",
            "sleep",
            "36000",
        ])?;
    }
    host::say(&format!("measuring: names and a second network beside {}", engines[1].name));
    for _ in 0..rounds {
        for (side, engine) in engines.into_iter().enumerate() {
            names(engine, bench, (side, tables))?;
            second(engine, (side, tables))?;
        }
    }
    host::say(&format!("measuring: {MANY} containers beside {}", engines[1].name));
    for _ in 0..rounds.div_ceil(5) {
        for (side, engine) in engines.into_iter().enumerate() {
            many(engine, MANY, (side, tables))?;
            many(engine, 1, (side, tables))?;
        }
    }
    for engine in engines {
        engine.ok(&["rm", "-f", NAMED])?;
    }
    engines[0].ok(&["network", "rm", SECOND]).map(drop)
}

fn names(engine: &Engine, bench: &Bench, (side, tables): Side<'_>) -> Result<()> {
    for at_once in ["1", "32"] {
        let flags = ["--rm", "--network", NETWORK];
        let said = probe(engine, bench, &flags, &["ask", NAMED, ASKED, at_once])?;
        let rate = said.split_whitespace().next().and_then(|word| word.parse().ok());
        let rate = rate.with_context(|| format!("the probe says {said:?}"))?;
        let name = format!("names, {at_once} asked for at once");
        tables.add(side, (&name, "1/s", Better::More), rate);
    }
    Ok(())
}

/// A command that only asks for the version tells what of it is the client's own.
fn second(engine: &Engine, (side, tables): Side<'_>) -> Result<()> {
    let mut timed = |name: &str, words: &[&str]| -> Result<()> {
        let milliseconds = engine.time(words)? * 1e3;
        tables.add(side, (name, "ms", Better::Less), milliseconds);
        Ok(())
    };
    timed("network connect", &["network", "connect", SECOND, NAMED])?;
    timed("network disconnect", &["network", "disconnect", SECOND, NAMED])?;
    timed("version", &["version"])
}

/// So many at a time until there are a hundred, and their removal by one command.
fn many(engine: &Engine, at_once: usize, (side, tables): Side<'_>) -> Result<()> {
    let start = Instant::now();
    let mut ids = Vec::new();
    while ids.len() < MANY {
        let words = ["run", "-d", "--network", NETWORK, "busybox", "sleep", "36000"];
        let start = |_| engine.command(&words).stdout(Stdio::piped()).spawn();
        let started: Vec<_> = (0..at_once).map(start).collect::<Result<_, _>>()?;
        for child in started {
            let output = child.wait_with_output()?;
            ensure!(output.status.success(), "{}: a container did not start", engine.name);
            ids.push(String::from_utf8(output.stdout)?.trim().to_owned());
        }
    }
    let how = if at_once == 1 { "one by one" } else { "at once" };
    let seconds = start.elapsed().as_secs_f64();
    tables.add(side, (&format!("{MANY} on a network, {how}"), "s", Better::Less), seconds);
    let words: Vec<&str> = ["rm", "-f"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let seconds = engine.time(&words)?;
    tables.add(side, (&format!("removal of {MANY}, {how}"), "s", Better::Less), seconds);
    Ok(())
}
