//! A host whose power is cut again and again while dhow works, and what is there after each boot.
//!
//! The host is the testbed, a whole machine with a disk of its own for dhow's state; the power is cut by
//! SIGKILL for the machine's process, some milliseconds after a command began or at the moment at which one
//! was acknowledged. What that proves: an acknowledged change has left the machine's memory, and whatever a
//! command was at does no harm. What it does not: the disk of the testbed writes through, so what has
//! been handed to it is never lost, in whatever order; that is the business of `disks.rs` of the end-to-end
//! tests, whose disks forget all that was not flushed.
//!
//! That it can fail is shown each time: the same work is done once with every flush taken out of the program's
//! calls, and something has to be missing after that.

mod pulled;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::{host, images, packages, testbed};

/// How often the power is cut if nobody says otherwise.
pub(crate) const CUTS: usize = 36;

/// How often as a part of all tests: each kind of cut, at places that differ.
pub(crate) const FEW: usize = 6;

/// How far the machine can get while its words are on the way: so many commands are in doubt.
const AHEAD: usize = 3;

/// What takes the flushes out of a script there: they are told to have been done.
const WITHOUT_FLUSHES: &str = "strace -f -qqq -o /dev/null --trace=fsync,fdatasync,syncfs,sync,sync_file_range,msync \
     --inject=fsync,fdatasync,syncfs,sync,sync_file_range,msync:retval=0 sh /run/work";

/// How a command of dhow's is called there.
const DHOW: &str = "/host/dhow --root /data/dhow --run-root /run/dhow";

/// Something that dhow keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    /// With the line that is in it.
    Image(String, String),
    Container(String),
    Volume(String),
}

/// Whether something has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    There,
    Gone,
    /// The power went while it was made or removed.
    Unknown,
}

/// A command, and what follows from it.
#[derive(Debug)]
struct Step {
    words: String,
    changes: Vec<(Thing, Presence)>,
}

type Expected = BTreeMap<Thing, Presence>;

/// What is done between two cuts, by the round's number.
fn steps(round: usize) -> Vec<Step> {
    use Presence::{Gone, There};
    let image = |name: &str, line: &str| {
        Thing::Image(format!("img:{name}{round}"), format!("{line}{round}"))
    };
    // No id begins like that.
    let container = |name: &str| Thing::Container(format!("x{name}{round}"));
    let volume = Thing::Volume(format!("v{round}"));
    let pulled = pulled::image(round);
    let step = |words: String, changes: Vec<(Thing, Presence)>| Step { words, changes };
    let run = |name: &str, more: &str| {
        format!(
            "run --name x{name}{round} --network none {more} busybox sh -c 'echo {name}{round} >/kept'"
        )
    };
    let mut all = vec![
        step(run("a", ""), vec![(container("a"), There)]),
        step(format!("commit xa{round} img:a{round}"), vec![(image("a", "a"), There)]),
        step(format!("volume create v{round}"), vec![(volume.clone(), There)]),
        step(run("b", &format!("-v v{round}:/v")), vec![(container("b"), There)]),
        step(format!("commit xb{round} img:b{round}"), vec![(image("b", "b"), There)]),
        step(format!("tag img:a{round} img:t{round}"), vec![(image("t", "a"), There)]),
        step(format!("export -o /data/tar xb{round}"), Vec::new()),
        step(format!("import /data/tar img:i{round}"), vec![(image("i", "b"), There)]),
        step("load -q -i /host/busybox.tar".to_owned(), Vec::new()),
        step(format!("pull -q {}", pulled.0), vec![(Thing::Image(pulled.0, pulled.1), There)]),
        step(format!("rm xa{round}"), vec![(container("a"), Gone)]),
        step(format!("rmi img:b{round}"), vec![(image("b", "b"), Gone)]),
        step("container prune -f".to_owned(), vec![(container("b"), Gone)]),
        step("volume prune -a -f".to_owned(), vec![(volume, Gone)]),
        step(
            format!("rmi img:a{round} img:t{round}"),
            vec![(image("a", "a"), Gone), (image("t", "a"), Gone)],
        ),
        step("image prune -f".to_owned(), Vec::new()),
    ];
    // What the last round has left of its prunes.
    if let Some(before) = round.checked_sub(1) {
        let imported = (format!("img:i{before}"), format!("b{before}"));
        for (name, line) in [imported, pulled::image(before)] {
            let words = format!("rmi -f {name} || true");
            all.push(step(words, vec![(Thing::Image(name, line), Presence::Unknown)]));
        }
    }
    all
}

/// What has to be there after a cut, by what was and by how many commands were acknowledged.
fn after(mut expected: Expected, steps: &[Step], acknowledged: usize) -> Expected {
    for (number, step) in steps.iter().enumerate().take(acknowledged + AHEAD) {
        for (thing, presence) in &step.changes {
            let presence = if number < acknowledged { *presence } else { Presence::Unknown };
            expected.insert(thing.clone(), presence);
        }
        // A prune takes all of its kind, of whichever round.
        let kind = step.words.split(' ').next().unwrap_or_default();
        if step.words.contains(" prune") && number < acknowledged + AHEAD {
            prune(&mut expected, kind, number < acknowledged);
        }
    }
    expected
}

fn prune(expected: &mut Expected, kind: &str, is_acknowledged: bool) {
    for (thing, presence) in expected {
        let is_meant = match thing {
            Thing::Container(_) => kind == "container",
            Thing::Volume(_) => kind == "volume",
            Thing::Image(..) => false,
        };
        if is_meant {
            *presence = if is_acknowledged { Presence::Gone } else { Presence::Unknown };
        }
    }
}

/// What looks whether all is as expected: it says what is not.
fn checks(expected: &Expected) -> String {
    let mut script = format!("{DHOW} system check --repair || echo BROKEN check\n");
    for (thing, presence) in expected {
        let (name, look) = match thing {
            Thing::Image(name, line) => {
                let read = format!("$({DHOW} run --rm --network none {name} cat /kept 2>&1)");
                (name, format!("[ \"{read}\" = {line} ]"))
            }
            Thing::Container(name) => {
                (name, format!("{DHOW} container inspect {name} >/dev/null 2>&1"))
            }
            Thing::Volume(name) => (name, format!("{DHOW} volume inspect {name} >/dev/null 2>&1")),
        };
        let _ = match (presence, thing) {
            (Presence::There, _) => writeln!(script, "{look} || echo BROKEN {name} is not there"),
            (Presence::Gone, _) => writeln!(script, "! {look} || echo BROKEN {name} is there"),
            // Whole, or not at all.
            (Presence::Unknown, Thing::Image(..)) => {
                let inspect = format!("{DHOW} image inspect {name} >/dev/null 2>&1");
                writeln!(script, "! {inspect} || {look} || echo BROKEN {name} is there in part")
            }
            (Presence::Unknown, Thing::Container(_) | Thing::Volume(_)) => Ok(()),
        };
    }
    script.push_str("echo checked\n");
    script
}

fn work(steps: &[Step]) -> String {
    let line = |(number, step): (usize, &Step)| {
        format!(
            "echo begin {number}.\n{DHOW} {} >/dev/null 2>/run/said && echo done {number}. || {{ echo BROKEN {number}; cat /run/said; }}\n",
            step.words
        )
    };
    steps.iter().enumerate().map(line).collect()
}

/// When the power is cut in a round: at a word of the machine's, and how long after it. Every step has its turn.
fn cut(round: usize, count: usize) -> (String, u64) {
    let place = round * 7 % count;
    match round % 3 {
        0 => (format!("done {place}."), 0),
        1 => (format!("begin {place}."), 30 + u64::try_from(round).unwrap_or_default() * 17 % 90),
        _ => (format!("begin {place}."), 100 + u64::try_from(round).unwrap_or_default() * 37 % 300),
    }
}

/// Cuts the power that often.
///
/// # Errors
/// The machine cannot be made, or something is not as it has to be.
pub(crate) fn run(cuts: usize) -> Result<()> {
    packages::install(&["python3"])?;
    let place = host::workspace().join("target/testbed/power");
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("remove {}", place.display()))?;
    }
    let share = prepare(&place, cuts)?;
    shows_that_it_can_fail(&Machine { share: share.clone(), data: place.join("unflushed.img") })?;
    let machine = Machine { share, data: place.join("data.img") };
    machine.boot(FIRST, None)?.whole()?;
    let mut expected = Expected::new();
    for round in 0..cuts {
        let steps = steps(round);
        let (word, delay) = cut(round, steps.len());
        let script = format!("{}{}", checks(&expected), work(&steps));
        let said = machine.boot(&script, Some((&word, delay)))?.whole()?;
        let acknowledged = said.lines().filter(|line| line.starts_with("done ")).count();
        host::say(&format!(
            "power-loss: {} of {cuts}: {word} +{delay} ms, {acknowledged} done",
            round + 1
        ));
        expected = after(expected, &steps, acknowledged);
    }
    machine.boot(&checks(&expected), None)?.whole()?;
    host::say(&format!("power-loss: {cuts} times, and all was there"));
    Ok(())
}

/// What is done before the first cut.
const FIRST: &str = "$DHOW load -q -i /host/busybox.tar && echo checked";

/// What the first steps of a round have acknowledged is looked for after a cut, when nothing of it was flushed.
fn shows_that_it_can_fail(machine: &Machine) -> Result<()> {
    machine.boot(FIRST, None)?.whole()?;
    let mut steps = steps(0);
    steps.truncate(3);
    let last = steps.len() - 1;
    let script =
        format!("cat >/run/work <<'END'\n{}END\necho checked\n{WITHOUT_FLUSHES}", work(&steps));
    machine.boot(&script, Some((&format!("done {last}."), 0)))?.whole()?;
    let expected = after(Expected::new(), &steps, steps.len());
    let said = machine.boot(&checks(&expected), None)?;
    ensure!(said.is_broken(), "without flushes all is there as well: nothing is shown\n{said}");
    host::say("power-loss: without flushes it is seen that something is missing");
    Ok(())
}

/// The program, and images to load and to pull, where the machine finds them.
fn prepare(place: &Path, cuts: usize) -> Result<PathBuf> {
    let share = place.join("host");
    fs::create_dir_all(&share).with_context(|| format!("make {}", share.display()))?;
    let busybox = images::make_busybox_only(&share)?;
    let repository = pulled::Repository::make(&share, &busybox)?;
    (0..cuts).try_for_each(|round| repository.add(round))?;
    host::run("cargo", &["build", "-p", "dhow"])?;
    let built = host::workspace().join("target/x86_64-unknown-linux-gnu/debug/dhow");
    fs::copy(&built, share.join("dhow")).with_context(|| format!("copy {}", built.display()))?;
    Ok(share)
}

/// The testbed with a disk that stays.
struct Machine {
    share: PathBuf,
    data: PathBuf,
}

impl Machine {
    /// Boots it, runs a script there, and cuts the power at a word. What was said.
    fn boot(&self, script: &str, cut: Option<(&str, u64)>) -> Result<Said> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let (share, data) = (text(&self.share), text(&self.data));
        let mut arguments = vec!["run", "--timeout", "300", "--ro", &share, "--data", &data];
        let delay;
        if let Some((word, milliseconds)) = cut {
            delay = format!("0.{milliseconds:03}");
            arguments.extend(["--crash-on", word, "--crash-delay", &delay]);
        }
        // The loopback interface of a host without a network is down.
        let script = format!(
            "set -u\nDHOW='{DHOW}'\nip link set lo up\nbusybox httpd -p {} -h /host/registry >/dev/null 2>&1\n{script}",
            pulled::ADDRESS
        );
        arguments.extend(["--", "sh", "-c", &script]);
        let output = testbed::command(&arguments).output().context("start the testbed")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains("checked\n"), "the machine says:\n{said}{told}");
        let said = Said { said, told: told.into_owned() };
        let expected = if cut.is_some() { 137 } else { 0 };
        ensure!(output.status.code() == Some(expected), "{}: {said}", output.status);
        Ok(said)
    }
}

/// What the machine has said.
struct Said {
    said: String,
    told: String,
}

impl Said {
    fn is_broken(&self) -> bool {
        self.said.contains("BROKEN")
    }

    /// What was said, if all is as it has to be.
    fn whole(self) -> Result<String> {
        ensure!(!self.is_broken(), "something is not as it has to be:\n{self}");
        Ok(self.said)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.said, self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_acknowledged_is_in_doubt() {
        let steps = steps(3);
        let state = |acknowledged: usize| after(Expected::new(), &steps, acknowledged);
        let first = Thing::Container("xa3".to_owned());
        assert_eq!(state(0).get(&first), Some(&Presence::Unknown));
        assert_eq!(state(1).get(&first), Some(&Presence::There));
        assert_eq!(state(1).get(&Thing::Volume("v3".to_owned())), Some(&Presence::Unknown));
        assert_eq!(state(1).get(&Thing::Container("xb3".to_owned())), Some(&Presence::Unknown));
        assert_eq!(state(steps.len()).get(&first), Some(&Presence::Gone));
    }

    #[test]
    fn a_prune_takes_what_other_rounds_have_left() {
        let left = Expected::from([(Thing::Container("xb1".to_owned()), Presence::There)]);
        let steps = steps(2);
        let place =
            steps.iter().position(|step| step.words.starts_with("container prune")).unwrap();
        let of = |acknowledged| {
            after(left.clone(), &steps, acknowledged)[&Thing::Container("xb1".to_owned())]
        };
        assert_eq!(of(place - AHEAD), Presence::There);
        assert_eq!(of(place), Presence::Unknown);
        assert_eq!(of(place + 1), Presence::Gone);
    }

    #[test]
    fn every_step_is_cut_into() {
        let count = steps(1).len();
        let mut places: Vec<usize> = (0..CUTS).map(|round| round * 7 % count).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), count);
    }
}
