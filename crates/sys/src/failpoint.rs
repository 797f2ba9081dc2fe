//! Places where a test kills the process or makes a step fail: all of them, and what is wished there.
//!
//! `DHOW_FAILPOINT=NAME=ACTION[=WITNESS]` in a debug build. `NAME` is a [`Point`]'s or `*`; `ACTION`
//! is `kill` (as `kill -9`: no destructor runs), `stop` (as `kill -STOP`, and for good: what the
//! kernel does when a process ends is not done either, as in a power cut), `wait` (until the witness is
//! removed: what others do just then) or `error` (the step fails with `EIO`), each with `@N` at the N-th time only; `WITNESS` is a file that is made first, so that
//! a test knows that the place was reached, in whichever process. A name or an action that does not
//! exist ends the program, since a test that waits in vain for a misspelt place would pass.
//!
//! A shim starts with an empty environment. What it shall do there is asked of whoever starts it by
//! `DHOW_SHIM_FAILPOINT`; what is asked of the shim is asked of its `reap` as well.
//!
//! A release build has the list and nothing else: no look-up, no environment.

use crate::Errno;

macro_rules! places {
    ($($variant:ident = $name:literal: $meaning:literal,)*) => {
        /// A step that can be the last one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Point {
            $(#[doc = $meaning] $variant,)*
        }

        impl Point {
            /// Every place there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// What `DHOW_FAILPOINT` calls it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

places! {
    CreateResolved = "create.resolved": "Names are resolved; nothing is written.",
    CreateRow = "create.row": "The row is written.",
    CreateVolumeDir = "create.volume-dir": "A volume's directory is made, its row is not.",
    CreateVolumeRow = "create.volume-row": "A volume's row is written; not committed.",
    CreateVolumes = "create.volumes": "The volumes are tied to the container.",
    CreateCopied = "create.copied": "A volume's content is copied, and in its place in part.",
    CreateFilled = "create.filled": "The volumes are filled.",
    CreateReady = "create.ready": "The row says that all is made.",

    VolumeStaged = "volume.staged": "The files of a volume are whole; they have no name.",
    VolumeAdopted = "volume.adopted": "They have their name; there is no row.",
    VolumeImported = "volume.imported": "What an import brings is whole, and in its place in part.",
    VolumeLinked = "volume.linked": "A volume's new name leads to its files; the row has the old one.",
    VolumeRenamed = "volume.renamed": "The row has the new name, the files the old one.",
    VolumeMoved = "volume.moved": "The files have the new name; the old one leads to nothing.",

    StartLife = "start.life": "The container's life is taken; there is no shim.",
    StartListening = "start.listening": "The shim's socket listens; there is no shim.",
    StartShim = "start.shim": "There is a shim, and it answers.",
    StartBridge = "start.bridge": "The bridge is there.",
    StartAddress = "start.address": "The address is leased.",
    StartNetns = "start.netns": "The network namespace is made.",
    StartLink = "start.link": "The link is made; the container's side has no address.",
    StartEndpoint = "start.endpoint": "The endpoint is whole.",
    StartReserved = "start.reserved": "The ports are bound.",
    StartPublished = "start.published": "The ports are in the firewall.",
    StartRootfs = "start.rootfs": "The writable layer is made and the overlay mounted.",
    StartFiles = "start.files": "`hosts`, `hostname` and `resolv.conf` are written.",
    StartPrepared = "start.prepared": "Everything that the init needs is there.",
    StartSaved = "start.saved": "The row says that it was started.",
    ReviveBegan = "revive.began": "The program runs that starts a container again.",
    StartLaunched = "start.launched": "The shim has answered.",

    ShimBegan = "shim.began": "The shim's program runs.",
    ShimLog = "shim.log": "The log is open.",
    ShimCgroup = "shim.cgroup": "The cgroup is made.",
    ShimReady = "shim.ready": "The init waits for the word to go.",
    ShimRunning = "shim.running": "The init has executed the command; nobody has been told.",
    ShimRecorded = "shim.recorded": "`state.json` says that it runs.",
    ShimExitSeen = "shim.exit-seen": "The init has ended.",
    ShimUnpublished = "shim.unpublished": "The ports are out of the firewall.",
    ShimExitRecorded = "shim.exit-recorded": "`exit.json` is written.",
    ShimRestarts = "shim.restarts": "`state.json` says that it is started again soon.",
    ShimRevive = "shim.revive": "The program is about to be started that starts it again.",
    ShimTornDown = "shim.torn-down": "The cgroup is removed.",
    LogMoved = "log.moved": "The full log has been moved aside; there is no new one.",
    ShimReap = "shim.reap": "The shim is about to become the one that removes the container.",
    ReapBegan = "reap.began": "The program runs that removes the container; it has opened nothing.",

    CheckpointWritten = "checkpoint.written": "criu has written all; the container stands still.",
    CheckpointSealed = "checkpoint.sealed": "The checkpoint has its name; criu has not been told.",

    WaitExited = "wait.exited": "Who waits has heard of the end.",
    WaitRemoved = "wait.removed": "Who waits has removed the container; the shim does not know.",

    UpdateSaved = "update.saved": "The row has what is new; nothing is mounted or published.",
    UpdateNoted = "update.noted": "The row has the numbers of what is new; nothing is mounted.",
    UpdateAdded = "update.added": "What is new is there, and so is what goes.",
    UpdateTaken = "update.taken": "What goes is gone; the row still has it.",

    RemoveLocked = "remove.locked": "The right to change the container is had.",
    RemoveLife = "remove.life": "The container's life is taken.",
    RemoveMoved = "remove.moved": "Its directory is in the trash; the row is still there.",
    RemoveRow = "remove.row": "The row is gone, those of its volumes too; the trash is full.",
    RemoveVolumeRow = "remove.volume-row": "`volume rm`: the row is gone; its files are there.",
    RemoveFiles = "remove.files": "All is gone but the directory below the runtime root.",

    NetworkRow = "network.row": "A network's row is written; it has no bridge.",
    NetworkLaid = "network.laid": "It has its bridge, and its place in the firewall.",
    ConnectLeased = "connect.leased": "A container that runs has an address on another network; no link.",
    ConnectLinked = "connect.linked": "It has its link there; its record does not say so.",
    ConnectSaved = "connect.saved": "Its record says where it is; its way out and its ports do not follow yet.",
    ConnectTold = "connect.told": "Its shim knows of its ports; the firewall does not.",
    DisconnectUnlinked = "disconnect.unlinked": "Its link is gone; its record has it.",
    NetworkRemoved = "network.removed": "A network's row is gone; its bridge is there.",

    OperationBegin = "operation.begin": "An operation begins: of a pull, the manifest is here.",
    OperationLease = "operation.lease": "The lease's file is locked.",
    OperationLeased = "operation.leased": "The lease's row is written.",
    BlobHalf = "blob.half": "A part of a blob is written.",
    BlobStaged = "blob.staged": "A blob is whole and verified.",
    LayerBegun = "layer.begun": "The directory to unpack a layer into is claimed.",
    LayerHalf = "layer.half": "A part of a layer is unpacked.",
    CopyFile = "copy.file": "`cp`: a file is written whole and has no name yet.",
    LayerSealed = "layer.sealed": "A layer is unpacked and sealed.",
    LoadRead = "load.read": "An archive is read to its end.",
    PublishSync = "publish.sync": "All is staged; nothing is flushed.",
    PublishSynced = "publish.synced": "All that is staged is on disk.",
    PublishBlobs = "publish.blobs": "The blobs are in place.",
    PublishLayers = "publish.layers": "The layers are in place; their directory is not flushed.",
    PublishRows = "publish.rows": "All is in place; there is no row.",
    PublishCommit = "publish.commit": "The rows are written, the tags moved; not committed.",
    PublishDone = "publish.done": "The rows are committed.",

    TagIndex = "tag.index": "`index.json` has the tag; not committed.",
    TagDone = "tag.done": "The tag is committed.",
    UntagRows = "untag.rows": "The rows of an image are gone; not committed.",
    UntagTrash = "untag.trash": "The rows of an image are gone; its files are in the trash.",

    CollectRows = "collect.rows": "What nobody needs is in the trash; not committed.",
    CollectTrash = "collect.trash": "What nobody needs is in the trash.",
}

/// Passes through a place.
///
/// # Errors
/// `EIO`, where a test asks for it.
#[cfg(debug_assertions)]
pub fn reach(point: Point) -> Result<(), Errno> {
    wished::WISH.as_ref().map_or(Ok(()), |wish| wish.at(point))
}

/// Passes through a place: nothing in a release build.
///
/// # Errors
/// None.
#[cfg(not(debug_assertions))]
#[expect(clippy::unnecessary_wraps, reason = "the debug build's signature")]
#[inline]
pub const fn reach(_point: Point) -> Result<(), Errno> {
    Ok(())
}

/// Passes through a place that cannot fail.
///
/// # Panics
/// A test asks for an error here.
pub fn pass(point: Point) {
    if reach(point).is_err() {
        panic!("DHOW_FAILPOINT: {} cannot fail", point.name());
    }
}

/// The environment that a shim is started with: what a test wants of it, as a rule nothing.
#[must_use]
pub fn shim_environment() -> Vec<std::ffi::CString> {
    environment("DHOW_SHIM_FAILPOINT")
}

/// The environment of the program that a shim becomes.
#[must_use]
pub fn own_environment() -> Vec<std::ffi::CString> {
    environment("DHOW_FAILPOINT")
}

#[cfg(debug_assertions)]
fn environment(variable: &str) -> Vec<std::ffi::CString> {
    let value = std::env::var(variable).ok();
    value
        .and_then(|value| std::ffi::CString::new(format!("DHOW_FAILPOINT={value}")).ok())
        .into_iter()
        .collect()
}

#[cfg(not(debug_assertions))]
const fn environment(_variable: &str) -> Vec<std::ffi::CString> {
    Vec::new()
}

#[cfg(debug_assertions)]
mod wished {
    //! What the environment asks for.

    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{Point, park_for_good, signal_self};
    use crate::Errno;

    pub(super) static WISH: LazyLock<Option<Wish>> = LazyLock::new(|| {
        let text = std::env::var("DHOW_FAILPOINT").ok()?;
        Some(parse(&text).unwrap_or_else(|wrong| panic!("DHOW_FAILPOINT={text}: {wrong}")))
    });

    #[derive(Debug)]
    pub(super) struct Wish {
        /// `None`: everywhere.
        point: Option<Point>,
        action: Action,
        /// At which passage; `None`: at each.
        passage: Option<u64>,
        passed: AtomicU64,
        witness: Option<PathBuf>,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        Kill,
        Stop,
        Wait,
        Error,
    }

    pub(super) fn parse(text: &str) -> Result<Wish, &'static str> {
        let mut parts = text.splitn(3, '=');
        let point = match parts.next() {
            Some("*") => None,
            name => {
                let named = Point::ALL.iter().find(|point| Some(point.name()) == name);
                Some(*named.ok_or("there is no such place")?)
            }
        };
        let action = parts.next().ok_or("there is no action")?;
        let (action, passage) = match action.split_once('@') {
            Some((action, number)) => {
                (action, Some(number.parse().map_err(|_| "there is no number behind @")?))
            }
            None => (action, None),
        };
        let action = match action {
            "kill" => Action::Kill,
            "stop" => Action::Stop,
            "wait" => Action::Wait,
            "error" => Action::Error,
            _ => return Err("there is no such action"),
        };
        let witness = parts.next().map(PathBuf::from);
        if action == Action::Wait && witness.is_none() {
            return Err("there is no witness to wait for");
        }
        Ok(Wish { point, action, passage, passed: AtomicU64::new(0), witness })
    }

    impl Wish {
        /// Until somebody removes the witness.
        fn wait(&self) {
            while self.witness.as_ref().is_some_and(|witness| witness.exists()) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }

        pub(super) fn at(&self, point: Point) -> Result<(), Errno> {
            if self.point.is_some_and(|wished| wished != point) {
                return Ok(());
            }
            let passage = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
            if self.passage.is_some_and(|wished| wished != passage) {
                return Ok(());
            }
            if let Some(witness) = &self.witness {
                std::fs::write(witness, point.name()).map_err(|_| Errno::IO)?;
            }
            match self.action {
                Action::Error => Err(Errno::IO),
                Action::Wait => {
                    self.wait();
                    Ok(())
                }
                Action::Stop => {
                    signal_self(rustix::process::Signal::STOP)?;
                    park_for_good()
                }
                Action::Kill => {
                    signal_self(rustix::process::Signal::KILL)?;
                    std::process::abort()
                }
            }
        }
    }
}

/// Another thread may have got the signal, which stops this one a moment later.
#[cfg(debug_assertions)]
fn park_for_good() -> ! {
    loop {
        std::thread::park();
    }
}

#[cfg(debug_assertions)]
fn signal_self(signal: rustix::process::Signal) -> Result<(), Errno> {
    rustix::process::kill_process(rustix::process::getpid(), signal)
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_wish_that_makes_no_sense_is_refused() {
        for (text, wrong) in [
            ("publish.snyc=kill", "there is no such place"),
            ("publish.sync", "there is no action"),
            ("publish.sync=die", "there is no such action"),
            ("publish.sync=wait", "there is no witness to wait for"),
            ("*=kill@x", "there is no number behind @"),
        ] {
            assert_eq!(wished::parse(text).unwrap_err(), wrong, "{text}");
        }
    }

    #[test]
    fn a_wish_comes_true_at_its_place_and_passage_only() {
        let wish = wished::parse("publish.sync=error@2").unwrap();
        assert_eq!(wish.at(Point::PublishRows), Ok(()));
        assert_eq!(wish.at(Point::PublishSync), Ok(()));
        assert_eq!(wish.at(Point::PublishSync), Err(Errno::IO));
        assert_eq!(wish.at(Point::PublishSync), Ok(()));
        let anywhere = wished::parse("*=error@2").unwrap();
        assert_eq!(anywhere.at(Point::PublishRows), Ok(()));
        assert_eq!(anywhere.at(Point::PublishSync), Err(Errno::IO));
    }

    #[test]
    fn a_witness_names_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("witness");
        let wish = wished::parse(&format!("tag.done=error={}", path.display())).unwrap();
        assert_eq!(wish.at(Point::TagDone), Err(Errno::IO));
        assert_eq!(std::fs::read(path).unwrap(), b"tag.done");
    }

    #[test]
    fn no_two_places_have_one_name() {
        let names: BTreeSet<&str> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
    }
}
