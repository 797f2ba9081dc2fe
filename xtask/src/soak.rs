//! A soak: thousands of containers come and go, and the host is as before.
//!
//! It looks at what stays: the memory and descriptors of guardians that live through it all, files,
//! rows. What is left on the host at its end, `leaks` counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::{demo, host, images};

/// How many containers come and go if nobody says how many.
pub(crate) const CONTAINERS: u32 = 2000;
/// How many are under way at any time.
const AT_A_TIME: u32 = 20;
/// How many come and go before what stays is looked at first: caches fill, the journal turns over.
const BEFORE: u32 = 100;
/// By how much the anonymous memory of one guardian may differ between two looks: the most execs at
/// once decide how far its heap and stack have ever come (KiB; 88 were seen).
const TOLERANCE_KIB: u64 = 128;
/// What a guardian remembers of an exec for some minutes (bytes, rounded up).
const EXEC_BYTES: u64 = 256;

/// Those that live through it all, and what else their command line says.
const RESIDENTS: [(&str, &[&str]); 3] = [
    ("resident-plain", &["--network", "none"]),
    ("resident-published", &["-p", "127.0.0.1::80"]),
    ("resident-chatty", &["-v", "resident:/data"]),
];

/// After how many containers one of the residents is entered.
const ENTERED_EVERY: u32 = 2;

/// What else the command line of a container says that comes and goes.
const KINDS: [&[&str]; 5] = [
    &["--network", "none"],
    &[],
    &["-p", "127.0.0.1::80"],
    &["-v", "/anonymous", "--memory", "64m"],
    &["--init", "--read-only", "--tmpfs", "/tmp"],
];

/// A dhow on roots of its own.
struct Dhow {
    binary: PathBuf,
    roots: PathBuf,
}

impl Dhow {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = host::dhow(&self.binary, &self.roots, arguments);
        command.stdin(Stdio::null());
        command
            .env("DHOW_ROOT", self.roots.join("root"))
            .env("DHOW_RUN", self.roots.join("run"))
            .stdin(Stdio::null());
        command
    }

    /// Runs it; it must succeed. What it prints.
    fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().context("start dhow")?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("dhow {}: {}", arguments.join(" "), error.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// What stays, at one moment.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    /// KiB of anonymous memory and open descriptors of each guardian, by process.
    guardians: BTreeMap<u32, (u64, usize)>,
    /// Files and directories below both roots, but the records of execs, which are kept for some
    /// minutes after their end.
    files: usize,
    /// What dhow lists: containers, volumes.
    listed: Vec<String>,
}

impl Standing {
    fn take(dhow: &Dhow) -> Result<Self> {
        dhow.ok(&["system", "check", "--repair"])?;
        let mut listed = Vec::new();
        for list in [&["ps", "-aq", "--no-trunc"][..], &["volume", "ls", "-q"], &["images", "-q"]] {
            listed.extend(dhow.ok(list)?.lines().map(str::to_owned));
        }
        let mut files = 0;
        count(&dhow.roots, &mut files)?;
        let mut execs = 0;
        count(&dhow.roots.join("run/exec"), &mut execs)?;
        let files = files - execs;
        Ok(Self { guardians: guardians(&dhow.roots.join("run"))?, files, listed })
    }

    /// What has grown since, while each guardian started so many execs.
    fn growth(&self, later: &Self, execs: u64) -> Vec<String> {
        let tolerance = TOLERANCE_KIB + execs * EXEC_BYTES / 1024;
        let mut grown = Vec::new();
        if later.listed != self.listed {
            grown.push(format!("listed: {:?}, before {:?}", later.listed, self.listed));
        }
        // A journal that was turned over once stays two files.
        if later.files > self.files + 1 {
            grown.push(format!("files: {}, before {}", later.files, self.files));
        }
        for (pid, (memory, descriptors)) in &later.guardians {
            match self.guardians.get(pid) {
                None => grown.push(format!("a guardian that was not there: {pid}")),
                Some((before, _)) if *memory > before + tolerance => {
                    grown.push(format!("memory of {pid}: {memory} KiB, before {before}"));
                }
                Some((_, before)) if descriptors > before => {
                    grown.push(format!("descriptors of {pid}: {descriptors}, before {before}"));
                }
                Some(_) => {}
            }
        }
        grown
    }
}

/// Runs it with so many containers.
///
/// # Errors
/// A command fails, or something of what stays has grown.
pub(crate) fn run(containers: u32) -> Result<()> {
    host::say("building dhow");
    host::run("cargo", &["build", "--release", "--package", "dhow"])?;
    let archives = host::workspace().join("target/images");
    fs::create_dir_all(&archives)?;
    let busybox = images::make_busybox_only(&archives)?;
    let roots = PathBuf::from(format!("/tmp/dhow-test-soak-{}", std::process::id()));
    let dhow = Dhow { binary: demo::binary()?, roots };
    let soaked = soak(&dhow, &busybox, containers);
    let reset = dhow.ok(&["system", "reset", "--force"]).map(drop);
    let removed = fs::remove_dir_all(&dhow.roots).context("remove the roots of the soak");
    soaked.and(reset).and(removed)
}

fn soak(dhow: &Dhow, busybox: &Path, containers: u32) -> Result<()> {
    dhow.ok(&["load", "-i", &busybox.to_string_lossy()])?;
    for (name, kind) in RESIDENTS {
        let mut arguments = vec!["run", "-d", "--name", name];
        arguments.extend(kind);
        arguments.extend(["busybox", "sleep", "1000000"]);
        dhow.ok(&arguments)?;
    }
    churn(dhow, BEFORE)?;
    let before = Standing::take(dhow)?;
    host::say(&format!("{containers} containers, {AT_A_TIME} at a time"));
    churn(dhow, containers)?;
    let after = Standing::take(dhow)?;
    for (pid, (memory, descriptors)) in &after.guardians {
        host::say(&format!("guardian {pid}: {memory} KiB, {descriptors} descriptors"));
    }
    let grown =
        before.growth(&after, u64::from(containers / ENTERED_EVERY) / RESIDENTS.len() as u64);
    if grown.is_empty() { Ok(()) } else { bail!("what stays has grown:\n  {}", grown.join("\n  ")) }
}

/// So many containers are started, entered, stopped and removed.
fn churn(dhow: &Dhow, containers: u32) -> Result<()> {
    let next = AtomicU32::new(0);
    let worker = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= containers {
                return Ok(());
            }
            one_life(dhow, number).with_context(|| format!("container {number}"))?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
    })
}

/// One container from its start to its removal; every resident is entered now and then as well.
fn one_life(dhow: &Dhow, number: u32) -> Result<()> {
    let pick = number as usize;
    let mut arguments = vec!["run", "-d"];
    arguments.extend(KINDS[pick % KINDS.len()]);
    arguments.extend(["busybox", "sh", "-c", "echo up; exec sleep 1000000"]);
    let id = dhow.ok(&arguments)?;
    let said = dhow.ok(&["exec", &id, "echo", "inside"])?;
    if said != "inside" {
        bail!("exec said {said:?}");
    }
    if number.is_multiple_of(ENTERED_EVERY) {
        let (resident, _) = RESIDENTS[pick / ENTERED_EVERY as usize % RESIDENTS.len()];
        dhow.ok(&["exec", resident, "true"])?;
    }
    if number.is_multiple_of(2) {
        dhow.ok(&["stop", "-t", "0", &id])?;
        dhow.ok(&["rm", "-v", &id])?;
    } else {
        dhow.ok(&["rm", "-fv", &id])?;
    }
    Ok(())
}

/// The guardians of containers below this runtime root, with their memory and descriptors.
fn guardians(run_root: &Path) -> Result<BTreeMap<u32, (u64, usize)>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if !String::from_utf8_lossy(&command).contains(&*run_root.to_string_lossy()) {
            continue;
        }
        let rollup = fs::read_to_string(entry.path().join("smaps_rollup"))?;
        let memory = rollup.lines().find_map(|line| line.strip_prefix("Pss_Anon:"));
        let memory = memory.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let descriptors = fs::read_dir(entry.path().join("fd"))?.count();
        found.insert(pid, (memory.context("no Pss_Anon in smaps_rollup")?, descriptors));
    }
    if found.is_empty() {
        bail!("no guardian runs below {}", run_root.display());
    }
    Ok(found)
}

/// Files and directories below.
fn count(dir: &Path, files: &mut usize) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let entry = entry?;
        *files += 1;
        if entry.file_type()?.is_dir() {
            count(&entry.path(), files)?;
        }
    }
    Ok(())
}
