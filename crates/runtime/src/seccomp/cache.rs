//! Compiled filters on disk, so that a start neither parses JSON nor compiles.
//!
//! A file is named by the hash of all that the filter depends on: the profile's text, the target and
//! [`FORMAT`]. It is written without a name and then linked, so nobody sees half of one, and nothing
//! is left if the writer dies. What does not verify is compiled anew and replaced. That a file cannot
//! be written costs the next start its time and nothing else, so it is no error.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use sha2::{Digest, Sha256};
use sys::seccomp::{Flags, Instruction, MAX_INSTRUCTIONS};

use super::syscalls::Arch;
use super::{Foreign, Listener, Program, SeccompError, Target, compile_json};

/// Changes with the compiler, its tables or the file's layout.
const FORMAT: &[u8] = b"dhow seccomp filter 1\n";

const CHECKSUM: usize = 32;

/// Far more than the longest filter with its strings.
const MAX_FILE: u64 = 1 << 20;

/// The filter of a profile's text: read from `dir` if it was compiled before, else compiled and
/// stored there. `dir` must exist and be the caller's alone.
pub fn cached(dir: &Path, json: &[u8], target: &Target) -> Result<Program, SeccompError> {
    let path = dir.join(key(json, target));
    if let Some(program) = read(&path) {
        return Ok(program);
    }
    let program = compile_json(json, target)?;
    // See the module's description: a cache that cannot be written is not a failure.
    drop(write(dir, &path, &program));
    Ok(program)
}

fn key(json: &[u8], target: &Target) -> String {
    let arch = match target.arch {
        Arch::X86_64 => 0,
        Arch::Aarch64 => 1,
        Arch::I386 => 2,
        Arch::Arm => 3,
    };
    let foreign = match target.foreign {
        Foreign::Refused => 0,
        Foreign::AsProfile => 1,
    };
    let mut hash = Sha256::new();
    hash.update(FORMAT);
    hash.update([arch, foreign]);
    hash.update(target.caps.bits().to_le_bytes());
    hash.update(target.kernel.major.to_le_bytes());
    hash.update(target.kernel.minor.to_le_bytes());
    hash.update(json);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The program in a file, or nothing if there is none, or one that is not as we wrote it.
fn read(path: &Path) -> Option<Program> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let file = std::fs::File::from(fd);
    let metadata = file.metadata().ok()?;
    let ours = metadata.is_file()
        && metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.mode() & 0o077 == 0
        && metadata.len() <= MAX_FILE;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).ok().filter(|_| ours)?);
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    decode(&bytes)
}

fn write(dir: &Path, path: &Path, program: &Program) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::TMPFILE;
    let fd = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(&encode(program))?;
    let fd = OwnedFd::from(file);
    match name(&fd, path) {
        Err(rustix::io::Errno::EXIST) => {
            // Either another process was as fast, or this is what did not verify.
            rustix::fs::unlink(path)?;
            name(&fd, path)
        }
        other => other,
    }?;
    Ok(())
}

/// Gives a nameless file its name. By way of `/proc`, which needs no capability.
fn name(fd: &OwnedFd, path: &Path) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    rustix::fs::linkat(CWD, link, CWD, path, AtFlags::SYMLINK_FOLLOW)
}

const FLAGS: [Flags; 4] = [Flags::LOG, Flags::SPEC_ALLOW, Flags::TSYNC, Flags::WAIT_KILLABLE_RECV];

fn flags_of(bits: u8) -> Flags {
    let set = FLAGS.iter().enumerate().filter(|(place, _)| bits & (1 << place) != 0);
    set.fold(Flags::default(), |flags, (_, flag)| flags.union(*flag))
}

impl Program {
    /// The form in which it is stored, and handed to another process.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads that form; `None` if it is not what [`Program::to_bytes`] of this version wrote.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        decode(bytes)
    }
}

fn encode(program: &Program) -> Vec<u8> {
    let mut body = Vec::new();
    let bits = (0..1_u8 << FLAGS.len()).find(|bits| flags_of(*bits) == program.flags);
    body.push(bits.unwrap_or(0));
    put_length(&mut body, program.instructions.len());
    for instruction in &program.instructions {
        body.extend(instruction.code.to_le_bytes());
        body.extend([instruction.jt, instruction.jf]);
        body.extend(instruction.k.to_le_bytes());
    }
    let listener =
        program.listener.iter().flat_map(|listener| [&listener.path, &listener.metadata]);
    put_strings(&mut body, &listener.collect::<Vec<_>>());
    put_strings(&mut body, &program.unknown.iter().collect::<Vec<_>>());
    let mut file = FORMAT.to_vec();
    file.extend(Sha256::digest(&body));
    file.extend(body);
    file
}

fn put_length(body: &mut Vec<u8>, length: usize) {
    body.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_strings(body: &mut Vec<u8>, strings: &[&String]) {
    put_length(body, strings.len());
    for string in strings {
        put_length(body, string.len());
        body.extend(string.as_bytes());
    }
}

fn decode(file: &[u8]) -> Option<Program> {
    let (checksum, body) = file.strip_prefix(FORMAT)?.split_at_checked(CHECKSUM)?;
    if Sha256::digest(body).as_slice() != checksum {
        return None;
    }
    let mut body = Body(body);
    let flags = flags_of(body.take(1)?[0]);
    let length = body.length().filter(|length| *length <= MAX_INSTRUCTIONS)?;
    let instructions = (0..length).map(|_| body.instruction()).collect::<Option<_>>()?;
    let mut listener = body.strings()?.into_iter();
    let listener = listener
        .next()
        .map(|path| Listener { path, metadata: listener.next().unwrap_or_default() });
    let unknown = body.strings()?;
    body.0.is_empty().then_some(Program { instructions, flags, listener, unknown })
}

/// What is left to be read of a file's body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.word()?).ok()
    }

    fn instruction(&mut self) -> Option<Instruction> {
        let head = self.take(4)?;
        let code = u16::from_le_bytes([head[0], head[1]]);
        Some(Instruction { code, jt: head[2], jf: head[3], k: self.word()? })
    }

    fn strings(&mut self) -> Option<Vec<String>> {
        let count = self.length()?;
        let mut strings = Vec::new();
        for _ in 0..count {
            let length = self.length()?;
            strings.push(String::from_utf8(self.take(length)?.to_vec()).ok()?);
        }
        Some(strings)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::target;
    use super::super::{DEFAULT, Profile, compile};
    use super::*;

    const NOTIFYING: &[u8] = br#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/l",
        "listenerMetadata":"m","flags":["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls":[{"names":["mount","opne"],"action":"SCMP_ACT_NOTIFY"}]}"#;

    fn only_file(dir: &Path) -> std::path::PathBuf {
        let mut files = std::fs::read_dir(dir).unwrap();
        let path = files.next().unwrap().unwrap().path();
        assert!(files.next().is_none());
        path
    }

    #[test]
    fn the_second_time_the_filter_comes_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        for json in [DEFAULT, NOTIFYING] {
            let compiled = compile(&Profile::parse(json).unwrap(), &target()).unwrap();
            assert_eq!(cached(dir.path(), json, &target()).unwrap(), compiled);
            assert_eq!(read(&dir.path().join(key(json, &target()))), Some(compiled));
        }
    }

    #[test]
    fn a_file_is_private_and_alone() {
        let dir = tempfile::tempdir().unwrap();
        cached(dir.path(), DEFAULT, &target()).unwrap();
        let metadata = std::fs::metadata(only_file(dir.path())).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_compiled_anew_and_healed() {
        let dir = tempfile::tempdir().unwrap();
        let program = cached(dir.path(), DEFAULT, &target()).unwrap();
        let path = only_file(dir.path());
        let good = std::fs::read(&path).unwrap();
        let damages: [fn(&mut Vec<u8>); 5] = [
            |file| file.truncate(100),
            |file| file.clear(),
            |file| *file.last_mut().unwrap() ^= 1,
            |file| file[FORMAT.len() + CHECKSUM + 20] ^= 0x80,
            |file| file.push(0),
        ];
        for damage in damages {
            let mut file = good.clone();
            damage(&mut file);
            std::fs::write(&path, &file).unwrap();
            assert_eq!(read(&path), None);
            assert_eq!(cached(dir.path(), DEFAULT, &target()).unwrap(), program);
            assert_eq!(std::fs::read(&path).unwrap(), good);
        }
    }

    #[test]
    fn a_file_that_others_can_reach_is_not_believed() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        cached(dir.path(), DEFAULT, &target()).unwrap();
        let path = only_file(dir.path());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660)).unwrap();
        assert_eq!(read(&path), None);
    }

    #[test]
    fn a_link_or_a_fifo_in_its_place_is_neither_followed_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(key(DEFAULT, &target()));
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(read(&path), None);
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        assert_eq!(read(&path), None);
        cached(dir.path(), DEFAULT, &target()).unwrap();
        assert!(read(&path).is_some());
    }

    #[test]
    fn a_missing_directory_costs_the_cache_only() {
        let dir = tempfile::tempdir().unwrap();
        let program = cached(&dir.path().join("none"), DEFAULT, &target()).unwrap();
        assert!(!program.instructions.is_empty());
    }

    #[test]
    fn everything_that_a_filter_depends_on_is_in_its_name() {
        let base = target();
        let mut kernel = base;
        kernel.kernel.minor += 1;
        let targets = [
            base,
            kernel,
            Target { caps: crate::capabilities::CapSet::EMPTY, ..base },
            Target { foreign: Foreign::AsProfile, ..base },
            Target { arch: Arch::Aarch64, ..base },
        ];
        let mut keys: Vec<String> = targets.iter().map(|target| key(DEFAULT, target)).collect();
        keys.push(key(NOTIFYING, &base));
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 6);
    }
}
