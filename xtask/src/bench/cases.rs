//! What is measured: one function a case, the same for every engine.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::engines::Engine;
use super::inputs::{Inputs, LOAD_BYTES};
use super::registry;
use crate::host;

/// A row's part of the name, its unit and its value.
type Values = Vec<(String, &'static str, f64)>;

/// One case.
pub(crate) struct Case {
    /// For the report.
    pub(crate) name: &'static str,
    /// Of its main value.
    pub(crate) unit: &'static str,
    /// Measures once.
    pub(crate) run: fn(&Engine, &Inputs) -> Result<Values>,
    /// `none` or `net`, if the kernel's floor is comparable.
    floor: Option<&'static str>,
    /// Whether once is enough, since it takes long.
    is_long: bool,
}

/// How many containers run side by side.
const PARALLEL: usize = 50;
/// How many containers there are when they are listed.
const MANY: usize = 300;
/// Bytes of log output.
const LOG_BYTES: u64 = 200 << 20;

impl Case {
    /// How often it is measured.
    pub(crate) fn rounds(&self, rounds: u32) -> u32 {
        if self.is_long { rounds.div_ceil(10) } else { rounds }
    }

    /// Whether a registry must run.
    pub(crate) fn needs_registry(&self) -> bool {
        self.name.starts_with("pull")
    }

    /// Milliseconds of the kernel's floor.
    pub(crate) fn floor(&self, inputs: &Inputs) -> Result<Option<f64>> {
        let Some(network) = self.floor else { return Ok(None) };
        let start = Instant::now();
        let status =
            host::command(&inputs.floor.to_string_lossy(), &[&inputs.rootfs, network, "/bin/true"])
                .status()
                .context("start the floor program")?;
        if !status.success() {
            bail!("the floor program: {status}");
        }
        Ok(Some(milliseconds(start)))
    }
}

/// Every case, in the order of the report.
pub(crate) fn all() -> [Case; 9] {
    let short = |name, run, floor| Case { name, unit: "ms", run, floor, is_long: false };
    let long = |name, run| Case { name, unit: "s", run, floor: None, is_long: true };
    [
        short(
            "run --rm, no network",
            |engine, _| run_rm(engine, &["--network", "none"]),
            Some("none"),
        ),
        short("run --rm, bridge", |engine, _| run_rm(engine, &[]), Some("net")),
        short("run --rm -p", |engine, _| run_rm(engine, &["-p", "18090:80"]), Some("net")),
        short("exec", exec, None),
        long("50 in parallel", parallel),
        long("300 containers", many),
        long("load 400 MB", load),
        long("pull 10 layers, 1 GB", pull),
        long("log of 200 MB", log),
    ]
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

fn one(value: f64, unit: &'static str) -> Values {
    vec![(String::new(), unit, value)]
}

fn run_rm(engine: &Engine, flags: &[&str]) -> Result<Values> {
    let mut arguments = vec!["run", "--rm"];
    arguments.extend(flags);
    arguments.extend(["busybox", "true"]);
    Ok(one(engine.time(&arguments)? * 1000.0, "ms"))
}

/// The container of the exec case stays for all rounds.
fn exec(engine: &Engine, _: &Inputs) -> Result<Values> {
    if engine.ok(&["ps", "-q", "--filter", "name=bench-exec"])?.is_empty() {
        engine.ok(&["run", "-d", "--name", "bench-exec", "busybox", "sleep", "3600"])?;
    }
    Ok(one(engine.time(&["exec", "bench-exec", "true"])? * 1000.0, "ms"))
}

fn start_many(engine: &Engine, count: usize, width: usize) -> Result<(f64, Vec<String>)> {
    let start = Instant::now();
    let mut ids = Vec::new();
    let mut left = count;
    while left > 0 {
        let batch = left.min(width);
        let started: Result<Vec<_>, _> = (0..batch)
            .map(|_| {
                engine
                    .command(&["run", "-d", "busybox", "sleep", "3600"])
                    .stdout(std::process::Stdio::piped())
                    .spawn()
            })
            .collect();
        for child in started? {
            let output = child.wait_with_output()?;
            if !output.status.success() {
                bail!("{}: one of {count} containers did not start", engine.name);
            }
            ids.push(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        left -= batch;
    }
    Ok((start.elapsed().as_secs_f64(), ids))
}

fn remove_all(engine: &Engine, ids: &[String]) -> Result<f64> {
    let mut arguments = vec!["rm", "-f"];
    arguments.extend(ids.iter().map(String::as_str));
    engine.time(&arguments)
}

fn parallel(engine: &Engine, _: &Inputs) -> Result<Values> {
    let (started, ids) = start_many(engine, PARALLEL, PARALLEL)?;
    let removed = remove_all(engine, &ids)?;
    Ok(vec![("start".to_owned(), "s", started), ("removal".to_owned(), "s", removed)])
}

fn many(engine: &Engine, _: &Inputs) -> Result<Values> {
    let (started, ids) = start_many(engine, MANY, 4)?;
    let mut listed = Vec::new();
    for _ in 0..5 {
        listed.push(engine.time(&["ps"])? * 1000.0);
    }
    listed.sort_by(f64::total_cmp);
    let memory = guardians_memory(engine)? / ids.len() as f64;
    let removed = remove_all(engine, &ids)?;
    Ok(vec![
        ("start".to_owned(), "s", started),
        ("ps".to_owned(), "ms", listed[2]),
        ("memory each, PSS".to_owned(), "MiB", memory),
        ("removal".to_owned(), "s", removed),
    ])
}

/// MiB of PSS of all processes that the engine keeps beside containers.
fn guardians_memory(engine: &Engine) -> Result<f64> {
    let mut kib = 0.0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if !engine.guardians.iter().any(|guardian| name.starts_with(guardian)) {
            continue;
        }
        let rollup = std::fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        kib +=
            pss.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(kib / 1024.0)
}

fn load(engine: &Engine, inputs: &Inputs) -> Result<Values> {
    let seconds = engine.time(&["load", "-q", "-i", &inputs.large])?;
    engine.ok(&["rmi", "large"])?;
    let rate = LOAD_BYTES as f64 / (1 << 20) as f64 / seconds;
    Ok(vec![(String::new(), "s", seconds), ("rate".to_owned(), "MiB/s", rate)])
}

fn pull(engine: &Engine, _: &Inputs) -> Result<Values> {
    let seconds = engine.time(&["pull", "-q", registry::IMAGE])?;
    engine.ok(&["rmi", registry::IMAGE])?;
    let rate = registry::BYTES as f64 / (1 << 20) as f64 / seconds;
    Ok(vec![(String::new(), "s", seconds), ("rate, unpacked".to_owned(), "MiB/s", rate)])
}

fn log(engine: &Engine, inputs: &Inputs) -> Result<Values> {
    let _ = inputs.dir;
    let script = format!(
        "yes 'a line of output as a program writes it to its log, some eighty bytes long' | head -c {LOG_BYTES}"
    );
    let before = host_cpu()?;
    let start = Instant::now();
    let id = engine.ok(&["run", "-d", "busybox", "sh", "-c", &script])?;
    engine.ok(&["wait", &id])?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = host_cpu()? - before;
    engine.ok(&["rm", &id])?;
    let rate = LOG_BYTES as f64 / (1 << 20) as f64 / seconds;
    Ok(vec![("rate".to_owned(), "MiB/s", rate), ("CPU".to_owned(), "s", cpu)])
}

/// Seconds of CPU that the host has spent on anything.
fn host_cpu() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).filter_map(|text| text.parse().ok()).collect();
    // user, nice, system; idle and waiting are not spent.
    Ok(ticks.iter().take(3).sum::<f64>() / 100.0)
}
