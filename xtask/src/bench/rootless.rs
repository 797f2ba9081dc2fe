//! An ordinary user's dhow beside an ordinary user's Podman: starts of containers, in turn.
//!
//! The user exists for the measurement alone, in a mount namespace of its own: the host's files are not touched.
//! Version 2 of the control groups is not there where it is mounted beside version 1: Podman's crun goes to no such
//! host.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{inputs, oci::Meter, report::median};
use crate::{host, images, packages};

/// What the comparison needs from Debian.
const PACKAGES: &[&str] =
    &["busybox-static", "crun", "mount", "passt", "podman", "slirp4netns", "uidmap", "util-linux"];

/// Ids that nobody has.
const USER: u32 = 0x7600_0000;

/// Becomes the user. `$1` is the directory, `$2` the user's number.
const BECOME: &str = r#"set -e
dir=$1 uid=$2; shift 2
[ ! -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified
mount --bind "$dir/passwd" /etc/passwd
mount --bind "$dir/subids" /etc/subuid
mount --bind "$dir/subids" /etc/subgid
# Everybody may open it where udev runs.
if [ -e /dev/net/tun ]; then
    mount -t tmpfs -o mode=755 none "$dir/dev"
    mknod -m 666 "$dir/dev/tun" c 10 200
    mount --bind "$dir/dev/tun" /dev/net/tun
fi
cd "$dir"
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups -- \
    env -i PATH="$PATH" HOME="$dir/home" XDG_RUNTIME_DIR="$dir/run" "$@"
"#;

/// What a case is called, and its command.
const CASES: [(&str, &[&str]); 3] = [
    ("run --rm, no network", &["run", "--rm", "--network", "none", "busybox", "true"]),
    ("run --rm", &["run", "--rm", "busybox", "true"]),
    ("exec", &["exec", "bench", "true"]),
];

/// A command line that takes Docker's arguments.
struct Engine {
    name: &'static str,
    words: Vec<String>,
    /// What it complains of: what it leaves running has no end of a pipe of ours.
    complaints: PathBuf,
}

impl Engine {
    fn ok(&self, words: &[&str]) -> Result<()> {
        let all = self.words.iter().skip(1).map(String::as_str).chain(words.iter().copied());
        let mut command = host::command(&self.words[0], &all.collect::<Vec<_>>());
        let complaints = fs::File::create(&self.complaints)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints);
        if command.status()?.success() {
            return Ok(());
        }
        let text = fs::read_to_string(&self.complaints)?;
        bail!("{} {}: {}", self.name, words.join(" "), text.trim())
    }
}

/// Makes the user, and has this program measure as that user.
///
/// # Errors
/// A package cannot be had, or an engine fails.
pub(crate) fn run(rounds: u32, program: &Path) -> Result<()> {
    packages::install(PACKAGES)?;
    let dir = PathBuf::from(format!("/var/tmp/dhow-bench-rootless-{}", std::process::id()));
    let done = make_user(&dir, program).and_then(|()| measured(&dir, rounds));
    fs::remove_dir_all(&dir)?;
    done
}

fn make_user(dir: &Path, program: &Path) -> Result<()> {
    let user = Some(USER);
    for name in ["home", "run", "dev"] {
        let path = dir.join(name);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        std::os::unix::fs::chown(&path, user, user)?;
    }
    let modes = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(dir.join("run"), modes)?;
    let (passwd, home) = (fs::read_to_string("/etc/passwd")?, dir.join("home"));
    let line = format!("bench:x:{USER}:{USER}::{}:/bin/sh\n", home.display());
    fs::write(dir.join("passwd"), format!("{passwd}{line}"))?;
    fs::write(dir.join("subids"), format!("bench:{}:65536\n", USER + 1))?;
    fs::copy(program, dir.join("dhow"))?;
    fs::copy(std::env::current_exe()?, dir.join("xtask"))?;
    let cache = host::workspace().join("target/images");
    fs::create_dir_all(&cache)?;
    fs::copy(images::make_busybox_only(&cache)?, dir.join("busybox.tar"))?;
    Ok(())
}

fn measured(dir: &Path, rounds: u32) -> Result<()> {
    let (text, rounds) = (inputs::text(dir), rounds.to_string());
    let own = inputs::text(&dir.join("xtask"));
    let meter = Meter::enter()?;
    let words = ["--mount", "--propagation", "slave", "sh", "-c", BECOME, "sh", &text];
    let more = [&USER.to_string(), &own, "bench-rootless", &text, &rounds];
    let done = host::run("unshare", &[&words[..], &more].concat());
    meter.leave()?;
    done
}

/// The measurement itself, as the user.
///
/// # Errors
/// An engine fails.
pub(crate) fn measure(dir: &Path, rounds: u32) -> Result<()> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let dhow = inputs::text(&dir.join("dhow"));
    // Without its own choice, which copies each layer where fuse-overlayfs is not installed.
    let podman = ["podman", "--cgroup-manager=cgroupfs", "--storage-driver=overlay"];
    let engine = |name, words| {
        let complaints = dir.join("home").join(name);
        Engine { name, words, complaints }
    };
    let engines = [engine("dhow", words(&[&dhow])), engine("podman", words(&podman))];
    let archive = inputs::text(&dir.join("busybox.tar"));
    for engine in &engines {
        engine.ok(&["load", "-q", "-i", &archive])?;
        engine.ok(&["run", "-d", "--name", "bench", "busybox", "sleep", "3600"])?;
    }
    let mut samples = Samples::new();
    // The first round fills caches.
    cycle(&engines, &mut Samples::new())?;
    for _ in 0..rounds {
        cycle(&engines, &mut samples)?;
    }
    engines[0].ok(&["system", "reset", "--force"])?;
    engines[1].ok(&["rm", "-f", "-t", "0", "bench"])?;
    engines[1].ok(&["system", "reset", "--force"])?;
    host::say(&table(&samples));
    Ok(())
}

/// Each case once, in turn.
fn cycle(engines: &[Engine], samples: &mut Samples) -> Result<()> {
    let meter = Meter::here();
    for (case, words) in CASES {
        for engine in engines {
            let (cpu, wall) = (meter.milliseconds()?, Instant::now());
            engine.ok(words)?;
            let both = [wall.elapsed().as_secs_f64() * 1e3, meter.milliseconds()? - cpu];
            samples.entry((case, engine.name)).or_default().push(both);
        }
    }
    Ok(())
}

/// Milliseconds, of wall and of processor, by case and engine.
type Samples = BTreeMap<(&'static str, &'static str), Vec<[f64; 2]>>;

fn table(samples: &Samples) -> String {
    let podman = host::output("podman", &["--version"]).unwrap_or_default();
    let mut text = format!("\n{}\n\n", podman.trim());
    text.push_str(
        "| as an ordinary user | unit | dhow | podman | podman / dhow |\n|---|---|---|---|---|\n",
    );
    for (case, _) in CASES {
        for (at, kind) in ["wall", "CPU"].into_iter().enumerate() {
            let of = |engine| {
                let all = samples.get(&(case, engine)).into_iter().flatten();
                median(&all.map(|both| both[at]).collect::<Vec<_>>())
            };
            let (dhow, podman) = (of("dhow"), of("podman"));
            let ratio = podman / dhow;
            let _ =
                writeln!(text, "| {case}, {kind} | ms | {dhow:.1} | {podman:.1} | {ratio:.1} |");
        }
    }
    text
}
