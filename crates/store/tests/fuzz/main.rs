//! Ten thousand hostile archives against the extractor, as root, beside a canary (RT-06).
//!
//! A test binary of its own, since it looks at the memory that its process has used at most.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod archive;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use archive::{MARKER, Random};
use store::layer::{self, ApplyError, ApplyOptions, Holes, Limits, PackOptions, UnpackError};
use sys::root::Root;

const ARCHIVES: u64 = 10_000;
const WORKERS: u64 = 2;

/// What one archive may use: far above what an honest one of its size needs.
const LIMITS: Limits = Limits { bytes: 8 << 20, ratio: 1000, entries: 3000 };

/// A hang becomes a failure that names the archive. An archive takes a millisecond.
const STUCK: Duration = Duration::from_secs(120);

/// Twice what is needed: the largest archive of the test is 40 MiB, the buffers of the pipeline are
/// 2 MiB, an extension header is 1 MiB at most.
const MOST_MEMORY_KB: u64 = 160 * 1024;

/// What an archive did: its number, and the kind of its verdict.
type Verdict = (u64, String);

#[test]
fn nothing_outside_ever_changes() {
    let (verdicts, received) = channel();
    for worker in 0..WORKERS {
        let verdicts = verdicts.clone();
        std::thread::spawn(move || work(worker, &verdicts));
    }
    drop(verdicts);
    let kinds = count(&received);
    for place in ["/", "/etc", "/tmp", "/proc/self/cwd"] {
        assert!(!Path::new(place).join(MARKER).exists(), "{place} got a marker");
    }
    let most = most_memory_kb();
    assert!(most < MOST_MEMORY_KB, "{most} kB were in use at once");
    // Archives that are all refused, or for one reason, would say nothing.
    let accepted = kinds.get("accepted").copied().unwrap_or_default();
    assert!(accepted > ARCHIVES / 5, "{accepted} archives were accepted");
    let kinds: Vec<_> = kinds.into_keys().collect();
    expect_test::expect![[r#"
        accepted
        archive: Chain
        archive: Checksum
        archive: Dangling
        archive: Global
        archive: Kind
        archive: LoneZeroBlock
        archive: NoName
        archive: NoTarget
        archive: Nul
        archive: Number
        archive: Pax
        archive: SizeOnHeaderOnly
        archive: Sparse
        archive: TooLarge
        archive: TooLong
        archive: Truncated
        compression: Decode
        law: Device
        law: LinkMissing
        law: LinkOutside
        law: LinkToDirectory
        law: Outside
        law: Parent
        law: Root
        law: TooLong
        law: Whiteout
        law: WhiteoutKind
        law: Xattr
        limit: bytes in files
        limit: bytes of the archive"#]]
    .assert_eq(&kinds.join("\n"));
}

/// Applies every archive of a worker; the last verdict names the one that is under way.
fn work(worker: u64, verdicts: &Sender<Verdict>) {
    let place = Place::new();
    for number in (worker..ARCHIVES).step_by(usize::try_from(WORKERS).unwrap()) {
        let verdict = place.apply(number);
        if verdicts.send((number, verdict)).is_err() {
            return;
        }
    }
}

fn count(received: &Receiver<Verdict>) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    let mut last = [0; 2];
    let mut done = 0;
    while done < ARCHIVES {
        let Ok((number, verdict)) = received.recv_timeout(STUCK) else {
            panic!("a worker is stuck or gone; the last archives that ended were {last:?}");
        };
        last[usize::try_from(number % WORKERS).unwrap()] = number;
        *kinds.entry(verdict).or_default() += 1;
        done += 1;
    }
    kinds
}

/// A root to unpack into, beside a canary.
struct Place {
    base: tempfile::TempDir,
    before: String,
}

impl Place {
    /// In memory: the journal of a disk would take ten times as long as the archives.
    fn new() -> Self {
        let base = tempfile::Builder::new().prefix("dhow-fuzz-").tempdir_in("/dev/shm").unwrap();
        let canary = base.path().join("canary");
        std::fs::create_dir_all(canary.join("below")).unwrap();
        std::fs::write(canary.join("file"), b"alive").unwrap();
        std::os::unix::fs::symlink("file", canary.join("link")).unwrap();
        let before = watched(&canary);
        Self { base, before }
    }

    fn apply(&self, number: u64) -> String {
        let root = self.base.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let canary = self.base.path().join("canary");
        let mut random = Random::new(number);
        let archive = archive::archive(&mut random, canary.to_str().unwrap());
        let wire = archive::wrapped(&mut random, archive);
        let options = ApplyOptions { limits: LIMITS, ..ApplyOptions::default() };
        let verdict = match layer::unpack(&wire[..], None, &Root::open(&root).unwrap(), &options) {
            Ok(_) => {
                self.comes_back_the_same(number, &root);
                "accepted".to_owned()
            }
            Err(error) => kind(number, &error),
        };
        assert_eq!(watched(&canary), self.before, "archive {number} has changed the canary");
        let beside = std::fs::read_dir(self.base.path()).unwrap().count();
        assert_eq!(beside, 2, "archive {number} has made something beside the root");
        std::fs::remove_dir_all(&root).unwrap();
        verdict
    }

    /// What was unpacked can be written as a layer, and that layer gives the same tree: nothing was
    /// made that the law would not take.
    fn comes_back_the_same(&self, number: u64, root: &Path) {
        let options = PackOptions { holes: Holes::Keep, ..PackOptions::default() };
        let packed = |root: &Path| {
            let mut archive = Vec::new();
            let done = layer::diff(&Root::open(root).unwrap(), &mut archive, &options);
            done.map(|_| archive).unwrap_or_else(|error| panic!("archive {number}: {error}"))
        };
        let first = packed(root);
        std::fs::remove_dir_all(root).unwrap();
        std::fs::create_dir(root).unwrap();
        let options = ApplyOptions::default();
        let again = layer::apply(&first[..], &Root::open(root).unwrap(), &options);
        assert!(again.is_ok(), "archive {number}: {again:?}");
        assert!(packed(root) == first, "archive {number} does not come back the same");
    }
}

/// The kind of an error, without the place. The kernel is never the one to refuse: what it would
/// not do, the law knows beforehand.
fn kind(number: u64, error: &UnpackError) -> String {
    match error {
        UnpackError::Apply(ApplyError::Tar(error)) => {
            format!("archive: {}", discriminant(&error.problem))
        }
        UnpackError::Apply(ApplyError::Cut) => "archive: its end is missing".to_owned(),
        UnpackError::Apply(ApplyError::Refused { refusal, .. }) => {
            format!("law: {}", discriminant(refusal))
        }
        UnpackError::Apply(ApplyError::Limit { what, .. }) => format!("limit: {what}"),
        UnpackError::Codec(error) => format!("compression: {}", discriminant(error)),
        UnpackError::TooLarge(_) | UnpackError::Bomb(_) => "limit: bytes of the archive".to_owned(),
        UnpackError::Apply(
            ApplyError::Os { .. }
            | ApplyError::NotEmpty
            | ApplyError::Destination(_)
            | ApplyError::Thread(_),
        )
        | UnpackError::Read(_) => {
            panic!("archive {number}: {error}: {:?}", std::error::Error::source(error))
        }
    }
}

/// The name of a variant, without what it carries.
fn discriminant(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// All that an archive could change of the canary: modes, owners, links, times, content.
fn watched(canary: &Path) -> String {
    let mut out = String::new();
    for name in ["", "file", "link", "below"] {
        let stat = std::fs::symlink_metadata(canary.join(name)).unwrap();
        let changed = (stat.ctime(), stat.ctime_nsec());
        let _ =
            writeln!(out, "{name} {:o} {} {} {changed:?}", stat.mode(), stat.uid(), stat.nlink());
    }
    let _ = write!(out, "{:?}", std::fs::read_dir(canary).unwrap().count());
    out
}

/// `VmHWM` of this process.
fn most_memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
