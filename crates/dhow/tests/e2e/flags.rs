//! Docker's flags, one by one: each is there in both spellings of its command and does something
//! that is seen, or stands on a list of those that are not there, with the reason.
//!
//! A flag that Docker has and the table has not, one of the table that has no effect, and one that
//! is listed as missing and works, all fail.

mod docker;
mod recorder;
mod table;

use std::cell::OnceCell;
use std::collections::BTreeSet;

use recorder::Recorder;
use table::{CREATE, Line, MISSING, OTHERS, RUN, Sees};
use testkit::Host;

use crate::host;

/// The long names of a list of Docker's.
fn names(list: &'static str) -> impl Iterator<Item = &'static str> {
    let long = |word: &'static str| word.split_once(',').map_or(word, |(_, long)| long);
    list.split_whitespace().map(move |word| long(word).trim_end_matches('='))
}

fn is_left_out(flag: &str) -> bool {
    docker::LEFT_OUT.iter().any(|(left, _)| *left == flag)
}

fn is_missing(command: &str, flag: &str) -> bool {
    MISSING.iter().any(|(name, missing, _)| *name == command && [flag, ""].contains(missing))
}

/// The lines of a command by its first name.
fn lines(command: &str) -> &'static [Line] {
    let found = OTHERS.iter().find(|(name, ..)| *name == command);
    found.map_or(&[], |(.., lines)| lines)
}

#[test]
fn every_flag_of_docker_has_a_line() {
    let mut wrong = Vec::new();
    let mut compare = |command: &str, theirs: BTreeSet<&'static str>, ours: &[Line]| {
        for flag in &theirs {
            let has_line = ours.iter().any(|line| line.flag == *flag);
            if has_line == (is_left_out(flag) || is_missing(command, flag)) {
                wrong.push(format!("{command} --{flag}: a line, or a reason to have none"));
            }
        }
        for line in ours.iter().filter(|line| !theirs.contains(line.flag)) {
            wrong.push(format!("{command} --{}: Docker has none", line.flag));
        }
    };
    compare("create", names(docker::CREATE).collect(), CREATE);
    compare("run", names(docker::RUN).collect(), RUN);
    for (spellings, flags) in docker::OTHERS {
        compare(spellings[0], names(flags).collect(), lines(spellings[0]));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What help says of a command, without the line that repeats its name.
fn help(host: &Host, command: &str) -> String {
    let mut words: Vec<&str> = command.split(' ').collect();
    words.push("--help");
    let shown = host.ok(&words);
    shown.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default()
}

/// The long flags that help names.
fn helped(text: &str) -> BTreeSet<String> {
    let flags = text.lines().filter_map(|line| {
        let (_, rest) = line.get(..12)?.split_once("--").map(|_| line.split_once("--"))??;
        line.starts_with("  ").then(|| rest.split(' ').next().unwrap_or_default().to_owned())
    });
    flags.collect()
}

#[test]
fn both_spellings_are_one_command() {
    let host = Host::new(crate::DHOW);
    let create = help(&host, "create");
    assert_eq!(create, help(&host, "container create"));
    let run = help(&host, "run");
    assert_eq!(run, help(&host, "container run"));
    // Whatever `create` takes, `run` takes.
    let missing: Vec<_> = helped(&create).difference(&helped(&run)).cloned().collect();
    assert!(missing.is_empty() && helped(&create).len() > 80, "{missing:?}");
    for (spellings, _) in docker::OTHERS {
        if is_missing(spellings[0], "") {
            continue;
        }
        let first = help(&host, spellings[0]);
        for other in &spellings[1..] {
            assert_eq!(first, help(&host, other), "{other}");
        }
    }
}

/// A place for the files that lines use, and a server that writes down what it is asked.
struct Bench {
    host: Host,
    recorder: Recorder,
}

impl Bench {
    fn new(host: Host) -> Self {
        let dir = host.scratch();
        std::fs::write(dir.join("env"), "F=2\n").unwrap();
        std::fs::write(dir.join("labels"), "file=1\n").unwrap();
        let recorder = Recorder::start(dir);
        Self { host, recorder }
    }

    /// With the directory of the test in the place of `{dir}`.
    fn text(&self, text: &str) -> String {
        text.replace("{dir}", &self.host.scratch().to_string_lossy())
    }

    /// The words of a command with these flags.
    fn words(&self, command: &str, flags: &[&str], behind: &[&str]) -> Vec<String> {
        let all = command.split(' ').chain(flags.iter().copied()).chain(behind.iter().copied());
        all.map(|word| self.text(word)).collect()
    }

    /// What a server is asked.
    fn asked(&self, words: &[String]) -> String {
        let host = self.recorder.host();
        let mut all = vec!["-H", host.as_str()];
        all.extend(words.iter().map(String::as_str));
        let _ = self.host.run(&all);
        self.recorder.take()
    }

    /// Both outputs.
    fn output(&self, words: &[String]) -> String {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ran = self.host.run(&words);
        format!("{}\n{}", ran.out, ran.err)
    }

    /// Looks for the effects of lines; each of what is wrong fails.
    fn check_all(&self, command: &str, behind: &[&str], lines: &[Line]) {
        let plain = self.words(command, &[], behind);
        let asked = self.asked(&plain);
        let once = OnceCell::new();
        let output = || once.get_or_init(|| self.output(&plain));
        let check = |line: &Line| {
            let with = self.words(command, line.words, behind);
            let (text, with, without, wanted) = match line.sees {
                Sees::Wire(text) => (text, self.asked(&with), &asked, true),
                Sees::Unasked(text) => (text, self.asked(&with), &asked, false),
                Sees::Shows(text) => (text, self.output(&with), output(), true),
                Sees::Hides(text) => (text, self.output(&with), output(), false),
                Sees::Test(module, test) => return missing_test(module, test),
                Sees::Inspect(..) => return None,
            };
            let seen = with.contains(text) == wanted && without.contains(text) != wanted;
            let flag = line.flag;
            (!seen).then(|| {
                format!("{command} --{flag}: {text:?}; with it:\n{with}\nwithout:\n{without}")
            })
        };
        let wrong: Vec<String> = lines.iter().filter_map(check).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

fn missing_test(module: &str, test: &str) -> Option<String> {
    let source = match module {
        "cp" => include_str!("cp.rs"),
        "events" => include_str!("events.rs"),
        "flags" => include_str!("flags.rs"),
        "limits" => include_str!("limits.rs"),
        "pull" => include_str!("pull.rs"),
        "terminal" => include_str!("terminal.rs"),
        other => return Some(format!("no module {other}")),
    };
    let is_there = source.contains(&format!("#[test]\nfn {test}("));
    (!is_there).then(|| format!("{module} has no test {test}"))
}

#[test]
fn flags_of_create_are_told_or_refused() {
    Bench::new(host()).check_all("create", &["busybox"], CREATE);
}

#[test]
fn flags_of_run_are_told() {
    Bench::new(Host::new(crate::DHOW)).check_all("run", &["busybox"], RUN);
}

#[test]
fn flags_of_all_other_commands_do_something() {
    let bench = Bench::new(host());
    bench.host.ok(&["create", "--name", "ended", "busybox", "true"]);
    bench.host.ok(&[
        "run",
        "-d",
        "--name",
        "runs",
        "busybox",
        "sh",
        "-c",
        "exec sleep 1000 # for long",
    ]);
    for (command, behind, lines) in OTHERS {
        bench.check_all(command, behind, lines);
    }
}

#[test]
fn flags_of_create_are_seen_by_inspect() {
    let bench = Bench::new(host());
    bench.host.ok(&["create", "--name", "plain", "--expose", "80", "busybox"]);
    let batches: BTreeSet<u8> = CREATE.iter().filter_map(batch).collect();
    for wanted in batches {
        let lines: Vec<&Line> = CREATE.iter().filter(|line| batch(line) == Some(wanted)).collect();
        inspect(&bench, &lines);
    }
}

fn batch(line: &Line) -> Option<u8> {
    if let Sees::Inspect(batch, ..) = line.sees { Some(batch) } else { None }
}

/// Makes one container with all of these flags, and compares it with one that has none.
fn inspect(bench: &Bench, lines: &[&Line]) {
    let words: Vec<&str> = lines.iter().flat_map(|line| line.words).copied().collect();
    let words = bench.words("create", &words, &["busybox"]);
    let id = bench.host.ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let template = |line: &&Line| {
        if let Sees::Inspect(_, template, _) = line.sees { template } else { "" }
    };
    let all = lines.iter().map(template).collect::<Vec<_>>().join("\n");
    let seen = |who: &str| {
        let shown = bench.host.ok(&["container", "inspect", "-f", &format!("{all}\n."), who]);
        shown.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (with, without) = (seen(&id), seen("plain"));
    assert_eq!((with.len(), without.len()), (lines.len() + 1, lines.len() + 1));
    for ((line, with), without) in lines.iter().zip(with).zip(without) {
        let Sees::Inspect(.., want) = line.sees else { unreachable!("a batch of them") };
        assert_eq!(with, bench.text(want), "--{}", line.flag);
        assert_ne!(with, without, "--{} is there without it", line.flag);
    }
    bench.host.ok(&["rm", &id]);
}

#[test]
fn what_is_not_there_yet_is_refused() {
    let bench = Bench::new(host());
    bench.host.ok(&["create", "--name", "plain", "busybox"]);
    for (command, flag, _) in MISSING.iter().filter(|(_, flag, _)| !flag.is_empty()) {
        let told = bench.host.run(&[command, &format!("--{flag}"), "1", "plain"]).err;
        assert!(told.starts_with("unknown flag"), "{command} --{flag}: {told}");
    }
}

#[test]
fn a_prune_asks_unless_it_is_forced() {
    let host = host();
    for kind in ["container", "image", "volume", "network", "builder", "system"] {
        let asked = host.feed(&[kind, "prune"], b"");
        assert_eq!(asked.code, Some(0), "{kind}: {}", asked.err);
        assert!(asked.out.ends_with("[y/N] "), "{kind}: {}", asked.out);
        let forced = host.ok(&[kind, "prune", "--force"]);
        assert!(!forced.contains("[y/N]"), "{kind}: {forced}");
    }
}

#[test]
fn stats_can_be_told_once() {
    let host = host();
    host.ok(&["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]);
    // It ends, where without the flag it would go on.
    let once = host.ok(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"]);
    assert_eq!(once, "runs 1");
}
