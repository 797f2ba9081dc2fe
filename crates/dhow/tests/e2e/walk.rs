//! Death at each step: every failpoint of the list is reached, by each command that passes it, and
//! what is left is counted before and after a repair.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use sys::failpoint::Point;
use testkit::{Census, Host, Image, Registry, until};

use crate::host;

/// What reaches a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    /// `create`, with a volume to be filled.
    Create,
    /// `run --rm`: this command line starts the container, waits, and removes it.
    Run,
    /// The same on a network that somebody made.
    RunOn,
    /// `run -d --rm`, and the shim dies.
    Shim,
    /// `run -d --rm`, and the program that the shim becomes dies.
    Reap,
    /// `run -d --restart on-failure:1` of what fails, and the shim dies.
    Again,
    /// The same, and the program dies that starts it again.
    Revive,
    /// `run -d` with a small log, and the shim dies.
    Log,
    /// `checkpoint create` of a container that runs.
    Checkpoint,
    /// `rm` of a container that has ended.
    Remove,
    Pull,
    Load,
    Tag,
    Untag,
    /// `volume rm`
    VolumeRemove,
    /// `network create`
    NetworkMake,
    /// `network rm`
    NetworkRemove,
    /// `volume clone`
    VolumeClone,
    /// `volume import` into one that is there.
    VolumeImport,
    /// `volume rename`, of one that a container uses.
    VolumeRename,
    /// `cp` into a container.
    CopyIn,
    /// `update` of the mounts and ports of a container that runs.
    Update,
    /// `network connect` of a container that runs.
    Connect,
    /// `network disconnect` of one.
    Disconnect,
    Repair,
}

use Scenario::{
    Again, Checkpoint, Connect, CopyIn, Create, Disconnect, Load, Log, NetworkMake, NetworkRemove,
    Pull, Reap, Remove, Repair, Revive, Run, RunOn, Shim, Tag, Untag, Update, VolumeClone,
    VolumeImport, VolumeRemove, VolumeRename,
};

/// Every place has a command that passes it: a new one does not compile without.
const fn scenarios(point: Point) -> &'static [Scenario] {
    use Point as P;
    match point {
        P::CreateResolved | P::CreateRow | P::CreateVolumes => &[Create],
        P::CreateVolumeDir | P::CreateVolumeRow => &[Create, Update],
        P::CreateCopied => &[Create, Update],
        P::CreateFilled | P::CreateReady => &[Create],
        P::StartLife | P::StartListening | P::StartShim => &[Run],
        P::StartAddress | P::StartBridge | P::StartEndpoint => &[Run, RunOn],
        P::StartNetns | P::StartLink | P::StartReserved => &[Run, RunOn],
        P::StartRootfs | P::StartFiles | P::StartPrepared => &[Run],
        P::StartPublished | P::StartSaved | P::StartLaunched => &[Run, Revive],
        P::ShimBegan | P::ShimLog | P::ShimCgroup | P::ShimReady | P::ShimRunning => &[Shim],
        P::ShimRecorded | P::ShimExitSeen | P::ShimUnpublished | P::ShimExitRecorded => &[Shim],
        P::ShimTornDown | P::ShimReap => &[Shim],
        P::ShimRestarts | P::ShimRevive => &[Again],
        P::ReviveBegan => &[Revive],
        P::LogMoved => &[Log],
        P::CheckpointWritten | P::CheckpointSealed => &[Checkpoint],
        P::WaitExited | P::WaitRemoved => &[Run],
        P::ReapBegan => &[Reap],
        P::RemoveLife => &[Remove, Reap],
        P::RemoveLocked | P::RemoveMoved | P::RemoveRow => &[Remove, Reap, Run],
        P::RemoveFiles => &[Remove, Reap, Run],
        P::UpdateSaved | P::UpdateNoted | P::UpdateAdded | P::UpdateTaken => &[Update],
        P::RemoveVolumeRow => &[VolumeRemove],
        P::NetworkRow | P::NetworkLaid => &[NetworkMake],
        P::NetworkRemoved => &[NetworkRemove],
        P::ConnectLeased | P::ConnectLinked | P::ConnectTold => &[Connect],
        P::ConnectSaved => &[Connect, Disconnect],
        P::DisconnectUnlinked => &[Disconnect],
        P::VolumeImported => &[VolumeImport],
        P::VolumeStaged | P::VolumeAdopted => &[VolumeClone],
        P::VolumeLinked | P::VolumeRenamed | P::VolumeMoved => &[VolumeRename],
        P::OperationBegin | P::OperationLease | P::OperationLeased => &[Pull, Load],
        P::BlobHalf | P::BlobStaged | P::LayerBegun | P::LayerSealed => &[Pull, Load],
        P::LayerHalf => &[Pull, Load, Create],
        P::CopyFile => &[CopyIn],
        P::LoadRead => &[Load],
        P::PublishSync | P::PublishSynced | P::PublishBlobs | P::PublishLayers => &[Pull, Load],
        P::PublishRows | P::PublishCommit | P::PublishDone => &[Pull, Load],
        P::TagIndex | P::TagDone => &[Tag],
        P::UntagRows | P::UntagTrash => &[Untag],
        P::CollectRows | P::CollectTrash => &[Repair],
    }
}

/// What must have happened in spite of everything, or must not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Acknowledged or not, both are the truth.
    Either,
    Done,
    Undone,
}

const fn then(point: Point, scenario: Scenario) -> Then {
    match (scenario, point) {
        (Create, Point::CreateReady) => Then::Done,
        (Create, _) => Then::Undone,
        (Pull | Load, Point::PublishDone) => Then::Done,
        (Pull | Load, _) => Then::Undone,
        (Tag, Point::TagDone) | (Untag, Point::UntagTrash) => Then::Done,
        (Tag | Untag | CopyIn | VolumeClone, _) => Then::Undone,
        (VolumeRename, Point::VolumeLinked) => Then::Undone,
        (VolumeImport | VolumeRename, _) => Then::Done,
        (Remove, Point::RemoveLocked | Point::RemoveLife | Point::RemoveMoved) => Then::Undone,
        (Connect | Disconnect, Point::ConnectSaved | Point::ConnectTold) => Then::Done,
        (Connect | Disconnect, _) => Then::Undone,
        // A network without a bridge is one: the next container makes it.
        (Remove | VolumeRemove | Log | NetworkMake | NetworkRemove, _) => Then::Done,
        // Half an update is none: what is new is there at the next start, what goes is there until then.
        (Update, Point::CreateVolumeDir | Point::CreateVolumeRow) => Then::Undone,
        (Revive | Update, _) => Then::Done,
        (Checkpoint, Point::CheckpointSealed) => Then::Done,
        (Checkpoint, _) => Then::Undone,
        (Run | RunOn | Shim | Again | Reap | Repair, _) => Then::Either,
    }
}

/// What its policy starts once more.
const FAILS: &[&str] = &[
    "run",
    "-d",
    "--restart",
    "on-failure:1",
    "--name",
    "half",
    "-p",
    "0:80",
    "-v",
    "/data",
    "busybox",
    "false",
];

/// One host on which all of one kind die.
struct Walk {
    host: Host,
    /// What to pull.
    reference: String,
    /// Of networks.
    subnet: String,
    _registry: Registry,
    archive: PathBuf,
    /// Of the volume `kept`, as an archive.
    files: String,
    before: Census,
    wrong: Vec<String>,
    /// How many deaths there were.
    deaths: usize,
}

impl Walk {
    fn new(host: Host) -> Self {
        let big: Vec<u8> = (0..200_000_u32).flat_map(|n| n.to_le_bytes()).collect();
        let app = Image::busybox().unwrap();
        let app = app.with_files("app:latest", &[("one", b"1"), ("big", &big), ("two", b"2")]);
        let app = app.unwrap();
        let archive = app.archive(host.scratch()).unwrap();
        // What every first container leaves for the next: the bridge, the tables, the filter.
        host.ok(&["network", "ls"]);
        host.ok(&["run", "--rm", "-p", "0:80", "-v", "/data", "busybox", "true"]);
        host.ok(&[
            "run",
            "--name",
            "kept",
            "-v",
            "kept:/data",
            "busybox",
            "sh",
            "-c",
            "echo k >/data/f",
        ]);
        // The directory of the locks of volumes stays.
        let files = host.scratch().join("files").to_string_lossy().into_owned();
        host.ok(&["volume", "export", "-o", &files, "kept"]);
        let subnet = crate::networks::subnet();
        let before = host.at_rest();
        let registry = Registry::start();
        let reference = registry.push_image(&app);
        Self {
            host,
            reference,
            subnet,
            _registry: registry,
            archive,
            files,
            before,
            wrong: Vec::new(),
            deaths: 0,
        }
    }

    /// Dies at a place, goes on, and counts.
    fn die(&mut self, point: Point, scenario: Scenario) {
        self.deaths += 1;
        let what = format!("{} of {scenario:?}", point.name());
        self.prepare(scenario);
        let witness = self.host.scratch().join("witness");
        let _ = fs::remove_file(&witness);
        let wish = format!("{}=kill={}", point.name(), witness.display());
        let in_shim = matches!(scenario, Shim | Again | Revive | Reap | Log);
        let variable = if in_shim { "DHOW_SHIM_FAILPOINT" } else { "DHOW_FAILPOINT" };
        let words = self.words(scenario);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = self.host.command(&words).env(variable, wish).output().unwrap();
        if scenario == Revive {
            // It is tried again and again until somebody removes the container.
            until("the witness", || {
                fs::read_to_string(&witness).is_ok_and(|said| !said.is_empty())
            });
        } else if in_shim {
            self.host.until_idle();
        } else if output.status.signal() != Some(9) {
            self.wrong.push(format!("{what}: {:?} ended by itself", output.status));
        }
        if fs::read_to_string(&witness).ok().as_deref() != Some(point.name()) {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            self.wrong.push(format!("{what}: was not reached: {said}"));
        }
        self.check_truth(point, scenario, &what);
        self.go_on(scenario, &what);
        let left = self.host.settled(&self.before, is_collected);
        if !left.is_empty() {
            self.wrong.push(format!("{what}: before a repair: {}", left.join(", ")));
        }
        self.host.ok(&["system", "check", "--repair"]);
        let left = self.host.settled(&self.before, |_| false);
        if !left.is_empty() {
            self.wrong.push(format!("{what}: AFTER a repair: {}", left.join(", ")));
            self.before = self.host.census();
        }
    }

    fn prepare(&self, scenario: Scenario) {
        let half = ["--name", "half", "-v", "/data", "busybox", "true"];
        match scenario {
            Remove => drop(self.host.ok(&[&["run"][..], &half].concat())),
            Untag => drop(self.host.ok(&["load", "-i", &self.archive.to_string_lossy()])),
            VolumeImport | VolumeRemove => {
                self.host.ok(&["volume", "create", "gone"]);
            }
            NetworkRemove => {
                self.host.ok(&["network", "create", "--subnet", &self.subnet, "half"]);
            }
            VolumeRename => {
                let run = ["run", "--name", "half", "-v", "gone:/v", "busybox", "touch", "/v/f"];
                self.host.ok(&run);
            }
            Update => {
                let run = ["run", "-d", "-p", "0:80", "-v", "old:/old", "--name", "half"];
                self.host.ok(&[&run[..], &["busybox", "sleep", "1000"]].concat());
            }
            Connect | Disconnect => {
                let run = ["run", "-d", "-p", "0:80", "--name", "half", "busybox"];
                self.host.ok(&[&run[..], &["sleep", "1000"]].concat());
                if scenario == Disconnect {
                    self.host.ok(&["network", "connect", "--gw-priority", "1", "walked", "half"]);
                }
            }
            Checkpoint => {
                testkit::criu().unwrap();
                let beats = "while :; do date +%N; usleep 9999; done";
                self.host.ok(&["run", "-d", "--name", "half", "busybox", "sh", "-c", beats]);
            }
            Create | Run | Shim | Again | Revive | Reap | Log | Pull | Load | Tag | CopyIn
            | NetworkMake | RunOn | VolumeClone | Repair => {}
        }
    }

    fn words(&self, scenario: Scenario) -> Vec<String> {
        let archive = self.archive.to_string_lossy().into_owned();
        let files = &self.files;
        let words: &[&str] = match scenario {
            Create => &["create", "--name", "half", "-v", "filled:/etc", "-v", "/data", "busybox"],
            Run => {
                &["run", "--rm", "--name", "half", "-p", "0:80", "-v", "/data", "busybox", "true"]
            }
            RunOn => &[
                "run",
                "--rm",
                "--name",
                "half",
                "--network",
                "walked",
                "-p",
                "0:80",
                "busybox",
                "true",
            ],
            Shim | Reap => &[
                "run", "-d", "--rm", "--name", "half", "-p", "0:80", "-v", "/data", "busybox",
                "true",
            ],
            Again | Revive => FAILS,
            Log => &[
                "run",
                "-d",
                "--name",
                "half",
                "--log-opt",
                "max-size=1k",
                "--log-opt",
                "max-file=3",
                "busybox",
                "sh",
                "-c",
                "yes | head -n 100",
            ],
            Checkpoint => &["checkpoint", "create", "half", "one"],
            Remove => &["rm", "-v", "half"],
            Pull => &["pull", &self.reference],
            Load => &["load", "-i", &archive],
            Tag => &["tag", "busybox", "other:1"],
            Untag => &["rmi", "app"],
            VolumeRemove => &["volume", "rm", "gone"],
            NetworkMake => &["network", "create", "--subnet", &self.subnet, "half"],
            NetworkRemove => &["network", "rm", "half"],
            Connect => &["network", "connect", "--gw-priority", "1", "walked", "half"],
            Disconnect => &["network", "disconnect", "walked", "half"],
            VolumeClone => &["volume", "clone", "kept", "cloned"],
            VolumeImport => &["volume", "import", "-i", files, "gone"],
            VolumeRename => &["volume", "rename", "gone", "renamed"],
            CopyIn => &["cp", &archive, "kept:/data/half"],
            Update => &[
                "update",
                "-v",
                "filled:/bin",
                "--mount-rm",
                "/old",
                "-p",
                "0:81",
                "--publish-rm",
                "80",
                "half",
            ],
            Repair => &["system", "check", "--repair"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// What the command wanted is there or not, as its death demands.
    fn check_truth(&mut self, point: Point, scenario: Scenario, what: &str) {
        let host = &self.host;
        let names = host.ok(&["ps", "-a", "--format", "{{.Names}}"]);
        let has = |name: &str| names.lines().any(|line| line == name);
        let image = |name: &str| host.run(&["image", "inspect", name]).code == Some(0);
        let is_done = match scenario {
            Create => has("half") && host.run(&["start", "half"]).code == Some(0),
            // What was written before is read, though there is no current file.
            Log => host.run(&["logs", "half"]).out.lines().count() > 5,
            // Killed or not, it goes on: what was to end it has not been said.
            Checkpoint => {
                let beat = || host.ok(&["logs", "--tail", "1", "half"]);
                let last = beat();
                until("a beat", || beat() != last);
                host.ok(&["checkpoint", "ls", "half"]).lines().any(|line| line == "one")
            }
            Remove => !has("half"),
            Pull => image(&self.reference),
            Load => image("app"),
            Tag => image("other:1"),
            Untag => !image("app"),
            VolumeRemove => host.run(&["volume", "inspect", "gone"]).code == Some(1),
            NetworkMake => host.run(&["network", "inspect", "half"]).code == Some(0),
            NetworkRemove => host.run(&["network", "inspect", "half"]).code == Some(1),
            Connect | Disconnect => {
                let networks = "{{json .NetworkSettings.Networks}}";
                let is_on = host.ok(&["inspect", "-f", networks, "half"]).contains("walked");
                is_on == (scenario == Connect)
            }
            VolumeClone => host.run(&["volume", "inspect", "cloned"]).code == Some(0),
            VolumeImport => {
                host.ok(&["volume", "clone", "gone", "cloned"]);
                let look = ["run", "--rm", "-v", "cloned:/c", "busybox", "ls", "-A", "/c"];
                host.ok(&look) == "f"
            }
            // The container, and whoever asks for the volume, have the same files.
            VolumeRename => {
                let look = |volume: &str| {
                    let volume = format!("{volume}:/v");
                    host.ok(&["run", "--rm", "-v", &volume, "busybox", "ls", "/v"])
                };
                let name = host.ok(&["inspect", "-f", "{{(index .Mounts 0).Name}}", "half"]);
                look(&name) == "f"
                    && host.run(&["start", "half"]).code == Some(0)
                    && name == "renamed"
            }
            CopyIn => host.run(&["cp", "kept:/data/half", "-"]).code == Some(0),
            // The next start has all that the row says, each mount and port once.
            Update => {
                host.ok(&["restart", "-t", "0", "half"]);
                let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "half"]);
                let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
                let count = |path: &str| mounts.matches(&format!(" {path} ")).count();
                let ports = host.ok(&["port", "half"]);
                count("/bin") == 1 && count("/old") == 1 && ports.contains("81/tcp")
            }
            // A start that did not come about is no start: it has ended as it did before.
            Revive => {
                let state = "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}";
                host.run(&["stop", "half"]).code == Some(0)
                    && host.ok(&["inspect", "-f", state, "half"]) == "exited 1 0"
            }
            Run | RunOn | Shim | Again | Reap | Repair => false,
        };
        let is_wrong = match then(point, scenario) {
            Then::Either => false,
            Then::Done => !is_done,
            Then::Undone => is_done,
        };
        if is_wrong {
            self.wrong.push(format!("{what}: done: {is_done}"));
        }
        if !has("kept") || !image("busybox") {
            self.wrong.push(format!("{what}: something else is gone"));
        }
    }

    /// The next ordinary commands, which know nothing of a death.
    fn go_on(&mut self, scenario: Scenario, what: &str) {
        let reference = self.reference.clone();
        let archive = self.archive.to_string_lossy().into_owned();
        self.expect(what, &["run", "--rm", "busybox", "echo", "on"]);
        match scenario {
            Create => {
                self.forget_half(what);
                self.expect(what, &["create", "--name", "half", "-v", "filled:/etc", "busybox"]);
                let group = ["run", "--rm", "-v", "filled:/f", "busybox", "cat", "/f/group"];
                self.expect(what, &group);
                self.expect(what, &["rm", "half"]);
                self.expect(what, &["volume", "rm", "filled"]);
            }
            Run | RunOn | Shim | Again | Revive | Reap | Log | Remove | Checkpoint | Connect
            | Disconnect => {
                self.forget_half(what);
                self.expect(
                    what,
                    &[
                        "run", "--rm", "--name", "half", "-p", "0:80", "-v", "/data", "busybox",
                        "true",
                    ],
                );
            }
            Pull => {
                self.expect(what, &["pull", &reference]);
                self.expect_app(what, &reference);
            }
            Load => {
                self.expect(what, &["load", "-i", &archive]);
                self.expect_app(what, "app");
            }
            Tag => {
                self.expect(what, &["tag", "busybox", "other:1"]);
                self.expect(what, &["rmi", "other:1"]);
            }
            Untag => {
                // It may be gone, which is what was asked for.
                let _ = self.host.run(&["rmi", "app"]);
                self.expect(what, &["load", "-i", &archive]);
                self.expect_app(what, "app");
            }
            Update => {
                self.forget_half(what);
                self.expect(what, &["volume", "rm", "old"]);
                // It may never have been made.
                let _ = self.host.run(&["volume", "rm", "filled"]);
                let ports = ["run", "--rm", "-p", "0:80", "-p", "0:81", "busybox", "true"];
                self.expect(what, &ports);
            }
            VolumeRemove => {
                self.expect(what, &["volume", "create", "gone"]);
                self.expect(what, &["volume", "rm", "gone"]);
            }
            NetworkMake | NetworkRemove => {
                let _ = self.host.run(&["network", "rm", "half"]);
                let subnet = self.subnet.clone();
                self.expect(what, &["network", "create", "--subnet", &subnet, "half"]);
                self.expect(what, &["network", "rm", "half"]);
            }
            VolumeClone => self.go_on_cloned(what),
            VolumeImport => self.expect(what, &["volume", "rm", "gone", "cloned"]),
            VolumeRename => self.go_on_renamed(what),
            CopyIn | Repair => {}
        }
        self.host.until_idle();
    }

    fn go_on_cloned(&mut self, what: &str) {
        self.expect(what, &["volume", "clone", "kept", "cloned"]);
        self.expect(what, &["run", "--rm", "-v", "cloned:/c", "busybox", "cat", "/c/f"]);
        self.expect(what, &["volume", "rm", "cloned"]);
    }

    fn go_on_renamed(&mut self, what: &str) {
        // A name that is free is free, whatever is left on the disk.
        let names = self.host.ok(&["volume", "ls", "-q"]);
        let is_done = names.lines().any(|name| name == "renamed");
        let look = format!("{}:/v", if is_done { "gone" } else { "renamed" });
        self.expect(what, &["run", "--rm", "-v", &look, "busybox", "touch", "/v/x"]);
        let keeps = ["run", "--rm", "--volumes-from", "half", "busybox", "test", "-e", "/v/f"];
        self.expect(what, &keeps);
        self.forget_half(what);
        self.expect(what, &["volume", "rm", "gone", "renamed"]);
    }

    /// A container that `ps` shows can be removed; one that it does not show is in nobody's way.
    fn forget_half(&mut self, what: &str) {
        let names = self.host.ok(&["ps", "-a", "--format", "{{.Names}}"]);
        if names.lines().any(|name| name == "half") {
            // One that goes with its process may have gone meanwhile.
            let _ = self.host.run(&["rm", "-fv", "half"]);
            let names = self.host.ok(&["ps", "-a", "--format", "{{.Names}}"]);
            if names.lines().any(|name| name == "half") {
                self.wrong.push(format!("{what}: half cannot be removed"));
            }
        }
    }

    /// The image is whole.
    fn expect_app(&mut self, what: &str, name: &str) {
        self.expect(what, &["run", "--rm", "--network", "none", name, "cat", "/data/two"]);
        self.expect(what, &["save", "-o", "/dev/null", name]);
        self.expect(what, &["rmi", name]);
    }

    fn expect(&mut self, what: &str, words: &[&str]) {
        let ran = self.host.run(words);
        if ran.code != Some(0) {
            self.wrong.push(format!(
                "{what}: then {}: {:?} {}",
                words.join(" "),
                ran.code,
                ran.err
            ));
        }
    }
}

/// Hosts that are walked on at once.
const WALKERS: usize = 3;

/// What the next collection takes: trash, the directory of a volume that never got a row, the bridge of
/// a network whose row is gone and what the firewall knows of it.
fn is_collected(change: &str) -> bool {
    let sets = ["bridges", "peers", "subnets", "masqueraded"];
    let is_rule = sets.iter().any(|set| change.contains(&format!(" {set} ")));
    is_trash(change)
        || change.starts_with("+ file volumes/")
        || change.starts_with("+ bridge ")
        || (change.starts_with("+ nft ") && is_rule)
}

/// The next load or pull deletes it at once, and the next removal after a minute: before that it may
/// be of somebody who is at it.
pub(crate) fn is_trash(change: &str) -> bool {
    change.starts_with("+ file trash/")
}

/// What goes another way without root: a guardian that is seen in the user's namespace from its birth to the end
/// of what it becomes, and its program that carries packets.
const fn is_of_users(point: Point, scenario: Scenario) -> bool {
    use Point as P;
    match scenario {
        Run => matches!(
            point,
            P::StartLife | P::StartListening | P::StartShim | P::StartPrepared | P::StartLaunched
        ),
        Shim => matches!(
            point,
            P::ShimBegan
                | P::ShimCgroup
                | P::ShimReady
                | P::ShimRunning
                | P::ShimExitSeen
                | P::ShimTornDown
                | P::ShimReap
        ),
        Reap | Revive => matches!(point, P::ReapBegan | P::ReviveBegan),
        Create | Again | Log | Checkpoint | Remove | Pull | Load | Tag | Untag | VolumeRemove
        | VolumeClone | VolumeImport | VolumeRename | NetworkMake | NetworkRemove | RunOn
        | CopyIn | Update | Connect | Disconnect | Repair => false,
    }
}

#[test]
fn death_at_each_step_is_forgotten() {
    walk(host, |_, _| true);
}

#[test]
fn death_at_each_step_of_a_users_container_is_forgotten() {
    walk(|| Host::of_user(crate::DHOW), is_of_users);
}

/// Dies everywhere where it is wished, on hosts of a kind.
fn walk(host: impl Fn() -> Host + Sync, is_wished: fn(Point, Scenario) -> bool) {
    let all: Vec<(Point, Scenario)> = Point::ALL
        .iter()
        .flat_map(|point| scenarios(*point).iter().map(|scenario| (*point, *scenario)))
        .filter(|(point, scenario)| is_wished(*point, *scenario))
        .collect();
    let walk = &|number: usize| {
        let host = host();
        // An ordinary user makes no networks, and nothing dies on one.
        if all.iter().any(|(_, scenario)| *scenario == RunOn) {
            host.ok(&["network", "create", "--subnet", &crate::networks::subnet(), "walked"]);
        }
        let mut walk = Walk::new(host);
        for (point, scenario) in all.iter().skip(number).step_by(WALKERS) {
            walk.die(*point, *scenario);
        }
        assert_eq!(walk.host.ok(&["start", "-a", "kept"]), "");
        assert_eq!(walk.host.ok(&["run", "--rm", "-v", "kept:/k", "busybox", "cat", "/k/f"]), "k");
        (walk.wrong.clone(), walk.deaths)
    };
    let outcomes: Vec<(Vec<String>, usize)> = std::thread::scope(|scope| {
        let walkers: Vec<_> =
            (0..WALKERS).map(|number| scope.spawn(move || walk(number))).collect();
        walkers.into_iter().map(|walker| walker.join().unwrap()).collect()
    });
    let wrong: Vec<String> = outcomes.iter().flat_map(|(wrong, _)| wrong.clone()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(outcomes.iter().map(|(_, deaths)| deaths).sum::<usize>(), all.len());
}
