//! `dhow oci` beside runc and crun: create, start and delete of one bundle, in turn.
//!
//! Processor time is that of a control group which the commands run in and the container's group is below of, so the
//! container's own process counts as well; this program's own part, which starts and awaits them, does not. Every runtime works in one mount namespace without version 2 of the
//! control groups where that is mounted beside version 1: crun goes to no such host. Their state is on a tmpfs, as
//! `/run` is: what files cost on a disk is the disk's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::inputs;
use super::report::median;
use crate::{host, packages};

/// What the comparison needs from Debian.
const PACKAGES: &[&str] = &["busybox-static", "crun", "mount", "runc", "time", "util-linux"];

/// The group of it all.
const GROUP: &str = "dhow-bench";
const HYBRID: &str = "/sys/fs/cgroup/unified";
/// What a delete that comes before the kernel has buried the process is told to try.
const ATTEMPTS: u32 = 100;

/// Capabilities that Docker gives.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// A runtime's command line up to its verb.
struct Runtime {
    name: &'static str,
    words: Vec<String>,
}

impl Runtime {
    fn new(name: &'static str, words: &[&str], dir: &Path) -> Self {
        let state = inputs::text(&dir.join("state").join(name));
        let all = words.iter().copied().chain(["--root", &state]);
        Self { name, words: all.map(str::to_owned).collect() }
    }

    /// Nothing is asked for (a directory would be) that has the standard library copy this process first, where it
    /// lends the new one its memory: half a millisecond of each figure otherwise.
    #[expect(clippy::disallowed_methods, reason = "automation is made of programs")]
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(words);
        command
    }
}

/// Measures in a mount namespace of its own, which this program enters by being executed again.
///
/// # Errors
/// A package cannot be had, or a runtime fails.
pub(crate) fn run(rounds: u32, program: &Path) -> Result<()> {
    packages::install(PACKAGES)?;
    let dir = PathBuf::from(format!("/var/tmp/dhow-bench-oci-{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let copy = dir.join("dhow");
    fs::copy(program, &copy)?;
    let own = inputs::text(&std::env::current_exe()?);
    let state = inputs::text(&dir.join("state"));
    fs::create_dir(&state)?;
    let script =
        format!("[ ! -d {HYBRID} ] || umount {HYBRID}; mount -t tmpfs none {state}; exec \"$@\"");
    let (rounds, text) = (rounds.to_string(), inputs::text(&dir));
    let words = ["--mount", "--propagation", "slave", "sh", "-c", &script, "sh", &own];
    let done = host::run("unshare", &[&words[..], &["bench-oci", &text, &rounds]].concat());
    fs::remove_dir_all(&dir)?;
    done
}

/// The measurement itself.
///
/// # Errors
/// A runtime fails.
pub(crate) fn measure(dir: &Path, rounds: u32) -> Result<()> {
    let bundle = bundle(dir)?;
    let dhow = inputs::text(&dir.join("dhow"));
    let runtimes = [
        Runtime::new("dhow", &[&dhow, "oci"], dir),
        Runtime::new("crun", &["crun"], dir),
        Runtime::new("runc", &["runc"], dir),
    ];
    let meter = Meter::enter()?;
    let mut report = Report::default();
    for round in 0..=rounds {
        for runtime in &runtimes {
            let sample = cycle(runtime, &bundle, &meter)?;
            // The first round fills caches.
            if round > 0 {
                report.add(runtime.name, &sample);
            }
        }
    }
    for runtime in &runtimes {
        report.memory.insert(runtime.name, peak(runtime, &bundle)?);
        report.versions.push(version(runtime)?);
    }
    meter.leave()?;
    host::say(&report.table());
    Ok(())
}

fn version(runtime: &Runtime) -> Result<String> {
    let output = runtime.command(&["--version"]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

/// Milliseconds of processor and of wall time, by verb.
type Sample = Vec<(&'static str, f64, f64)>;

fn cycle(runtime: &Runtime, bundle: &str, meter: &Meter) -> Result<Sample> {
    let mut sample = Sample::new();
    let mut timed = |verb, work: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        let (cpu, wall) = (meter.milliseconds()?, Instant::now());
        work().with_context(|| format!("{} {verb}", runtime.name))?;
        let wall = wall.elapsed().as_secs_f64() * 1e3;
        sample.push((verb, meter.milliseconds()? - cpu, wall));
        Ok(())
    };
    let id = format!("bench-{}", runtime.name);
    let mut output = None;
    timed("create", &mut || {
        let mut create = runtime.command(&["create", "--bundle", bundle, &id]);
        let mut child = create.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        output = child.stdout.take();
        ensure!(child.wait()?.success(), "it fails");
        Ok(())
    })?;
    timed("start", &mut || {
        ensure!(runtime.command(&["start", &id]).status()?.success(), "it fails");
        // The container's process has the other end until it ends.
        output.take().map_or(Ok(0), |mut output| output.read_to_end(&mut Vec::new()))?;
        Ok(())
    })?;
    timed("delete", &mut || {
        for _ in 0..ATTEMPTS {
            let mut delete = runtime.command(&["delete", &id]);
            if delete.stderr(Stdio::null()).status()?.success() {
                return Ok(());
            }
        }
        bail!("it fails")
    })?;
    let total = |of: fn(&(&str, f64, f64)) -> f64| sample.iter().map(of).sum::<f64>();
    let (cpu, wall) = (total(|one| one.1), total(|one| one.2));
    sample.push(("all three", cpu, wall));
    Ok(sample)
}

/// The most memory that a process of a create has had, in KiB.
fn peak(runtime: &Runtime, bundle: &str) -> Result<f64> {
    let id = format!("peak-{}", runtime.name);
    let report = format!("{bundle}/peak");
    let mut words = vec!["-o", &report, "-f", "%M"];
    words.extend(runtime.words.iter().map(String::as_str));
    words.extend(["create", "--bundle", bundle, &id]);
    let mut create = host::command("time", &words);
    let status = create.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "{} create", runtime.name);
    ensure!(runtime.command(&["delete", "--force", &id]).status()?.success(), "{}", runtime.name);
    let text = fs::read_to_string(&report)?;
    text.trim().parse().with_context(|| format!("read {text:?}"))
}

/// Counts the processor time of this process, its children and the containers.
pub(super) struct Meter {
    directory: PathBuf,
    file: PathBuf,
}

impl Meter {
    /// Goes to the group: what is started from now on is in it.
    pub(super) fn enter() -> Result<Self> {
        let meter = Self::here();
        fs::create_dir_all(meter.directory.join("commands"))?;
        fs::write(meter.directory.join("commands/cgroup.procs"), "0")?;
        Ok(meter)
    }

    /// In a process of whoever is in the group already.
    pub(super) fn here() -> Self {
        let legacy = Path::new("/sys/fs/cgroup/cpuacct");
        let (root, file) = if legacy.exists() {
            (legacy, "cpuacct.usage")
        } else {
            (Path::new("/sys/fs/cgroup"), "cpu.stat")
        };
        let directory = root.join(GROUP);
        Self { file: directory.join(file), directory }
    }

    /// Of all in the group but this process.
    pub(super) fn milliseconds(&self) -> Result<f64> {
        let text = fs::read_to_string(&self.file)?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let all = match words[..] {
            [nanoseconds] => nanoseconds.parse::<f64>()? / 1e6,
            ["usage_usec", microseconds, ..] => microseconds.parse::<f64>()? / 1e3,
            _ => bail!("{}: {text:?}", self.file.display()),
        };
        Ok(all - own()?)
    }

    /// Goes back, and takes the group away.
    pub(super) fn leave(self) -> Result<()> {
        let root = self.directory.parent().context("a group has a parent")?;
        fs::write(root.join("cgroup.procs"), "0")?;
        fs::remove_dir(self.directory.join("commands"))?;
        remove_groups();
        Ok(())
    }
}

/// Milliseconds that this process, which has one thread, has been on a processor.
fn own() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().context("a processor's time")?;
    Ok(nanoseconds.parse::<f64>()? / 1e6)
}

/// Takes away what is left of the bundle's control groups.
pub(crate) fn remove_groups() {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    for hierarchy in hierarchies {
        let _ = fs::remove_dir(hierarchy.path().join(GROUP));
    }
    let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(GROUP));
}

/// All samples.
#[derive(Default)]
struct Report {
    versions: Vec<String>,
    /// By verb, then by runtime: processor and wall time.
    samples: BTreeMap<&'static str, BTreeMap<&'static str, [Vec<f64>; 2]>>,
    memory: BTreeMap<&'static str, f64>,
}

impl Report {
    fn add(&mut self, runtime: &'static str, sample: &Sample) {
        for (verb, cpu, wall) in sample {
            let both = self.samples.entry(verb).or_default().entry(runtime).or_default();
            both[0].push(*cpu);
            both[1].push(*wall);
        }
    }

    fn table(&self) -> String {
        let mut text = format!("\n{}\n\n", self.versions.join("\n"));
        text.push_str("| | unit | dhow | crun | crun / dhow | runc | runc / dhow |\n|---|---|---|---|---|---|---|\n");
        let verbs = ["create", "start", "delete", "all three"];
        for (at, kind, verb) in [(0, "CPU"), (1, "wall")]
            .iter()
            .flat_map(|(at, kind)| verbs.map(|verb| (at, kind, verb)))
        {
            let of = |name: &str| {
                let both = self.samples.get(verb).and_then(|all| all.get(name));
                both.map_or(f64::NAN, |both| median(&both[*at]))
            };
            line(&mut text, &format!("{verb}, {kind}"), "ms", of);
        }
        let memory = |name: &str| self.memory.get(name).copied().unwrap_or(f64::NAN) / 1024.0;
        line(&mut text, "create, memory at the peak", "MiB", memory);
        text
    }
}

fn line(text: &mut String, name: &str, unit: &str, of: impl Fn(&str) -> f64) {
    let (dhow, crun, runc) = (of("dhow"), of("crun"), of("runc"));
    let (crun_ratio, runc_ratio) = (crun / dhow, runc / dhow);
    let _ = writeln!(
        text,
        "| {name} | {unit} | {dhow:.2} | {crun:.2} | {crun_ratio:.1} | {runc:.2} | {runc_ratio:.1} |"
    );
}

/// A bundle as Docker makes them: its capabilities, devices, masks and seccomp profile, and limits of all kinds; for the `dhow`
/// beside it.
///
/// # Errors
/// A file cannot be written, or dhow fails.
pub(crate) fn bundle(dir: &Path) -> Result<String> {
    let bundle = dir.join("bundle");
    let bin = bundle.join("rootfs/bin");
    fs::create_dir_all(&bin)?;
    fs::copy("/bin/busybox", bin.join("true"))?;
    let dhow = inputs::text(&dir.join("dhow"));
    host::run(&dhow, &["oci", "spec", "-b", &inputs::text(&bundle)])?;
    let path = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&path)?)?;
    // All three know this version.
    spec["ociVersion"] = json!("1.0.2");
    let process = &mut spec["process"];
    process["terminal"] = json!(false);
    process["noNewPrivileges"] = json!(false);
    process["args"] = json!(["/bin/true"]);
    process["capabilities"] =
        json!({ "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES });
    let linux = &mut spec["linux"];
    linux["cgroupsPath"] = json!(format!("/{GROUP}/container"));
    linux["seccomp"] = seccomp()?;
    linux["resources"] = json!({
        "devices": devices(),
        "memory": { "limit": 128 << 20, "swap": 256 << 20 },
        "cpu": { "shares": 512, "quota": 50_000, "period": 100_000 },
        "pids": { "limit": 100 },
    });
    let kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    linux["namespaces"] = kinds.iter().map(|kind| json!({ "type": kind })).collect();
    fs::write(&path, spec.to_string())?;
    Ok(inputs::text(&bundle))
}

fn devices() -> Value {
    let allowed = [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1), (10, 229)];
    let rule = |(major, minor): (u32, u32)| json!({ "allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm" });
    let all = [json!({ "allow": false, "access": "rwm" })].into_iter();
    all.chain(allowed.into_iter().map(rule)).collect()
}

/// Docker's profile as an engine resolves it for this architecture and these capabilities.
fn seccomp() -> Result<Value> {
    let path = host::workspace().join("crates/runtime/data/seccomp.json");
    let profile: Value = serde_json::from_slice(&fs::read(path)?)?;
    let is_ours = |rule: &&Value| {
        let asks = &rule["includes"];
        let arches: Vec<&str> =
            asks["arches"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        asks["caps"].is_null() && (arches.is_empty() || arches.contains(&"amd64"))
    };
    let rules = profile["syscalls"].as_array().into_iter().flatten().filter(is_ours);
    let rule = |rule: &Value| {
        let mut kept = json!({ "names": rule["names"], "action": rule["action"] });
        for key in ["args", "errnoRet"] {
            if !rule[key].is_null() {
                kept[key] = rule[key].clone();
            }
        }
        kept
    };
    Ok(json!({
        "defaultAction": profile["defaultAction"], "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules.map(rule).collect::<Vec<_>>(),
    }))
}
