//! What the kernel says of one process or thread: `/proc/PID/{stat,status,statm,cmdline,wchan}`.
//!
//! The parsers are pure. The process may end at any moment, and decides itself what its name and
//! its arguments are.

use std::io::Read as _;
use std::path::Path;

/// ps shows no more of a command line.
const LONGEST_COMMAND: u64 = 128 << 10;

/// One process, or one thread of it. Times are in ticks, sizes in KiB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) tgid: u32,
    /// Of the thread; the same as `tgid` for the first.
    pub(super) tid: u32,
    pub(super) name: String,
    /// Empty for one that has none, such as a dead one.
    pub(super) arguments: String,
    pub(super) state: String,
    pub(super) parent: u32,
    pub(super) group: i64,
    pub(super) session: i64,
    pub(super) terminal: u64,
    pub(super) terminal_group: i64,
    pub(super) flags: u64,
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    pub(super) cpu_time: u64,
    pub(super) priority: i64,
    pub(super) nice: i64,
    pub(super) threads: u64,
    /// Since the host's boot.
    pub(super) started: u64,
    pub(super) virtual_pages: u64,
    pub(super) virtual_size: u64,
    pub(super) resident: u64,
    pub(super) locked: u64,
    pub(super) processor: u64,
    pub(super) realtime_priority: u64,
    pub(super) policy: u64,
    /// Real, effective, saved, of the file system.
    pub(super) uids: [u32; 4],
    /// Real, effective, saved, of the file system.
    pub(super) gids: [u32; 4],
    /// Where in the kernel it waits; empty if it does not.
    pub(super) waits_in: String,
}

impl Process {
    /// Reads one. `None` if it has ended.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        let text = |name: &str| {
            let bytes = std::fs::read(dir.join(name)).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let mut process = parse_stat(&text("stat")?)?;
        read_status(&text("status")?, &mut process);
        process.tid = number_at_end(dir);
        process.arguments = read_arguments(dir).unwrap_or_default();
        let pages = text("statm").and_then(|sizes| sizes.split(' ').next()?.parse().ok());
        process.virtual_pages = pages.unwrap_or(0);
        process.waits_in = text("wchan").map(|name| waits_in(&name)).unwrap_or_default();
        Some(process)
    }
}

/// The number that a directory in `/proc` is called by.
pub(super) fn number_at_end(path: &Path) -> u32 {
    path.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0)
}

fn read_arguments(dir: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(dir.join("cmdline"))?.take(LONGEST_COMMAND).read_to_end(&mut bytes)?;
    Ok(arguments(&bytes))
}

/// Arguments as one line. Docker takes ps's lines apart at white space and joins them with single
/// spaces, so that is how clients know them.
fn arguments(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words = text.split(['\0', ' ']).filter(|word| !word.is_empty());
    words.map(printable).collect::<Vec<_>>().join(" ")
}

/// What would steer a terminal or break a table is shown as ps shows it.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

fn waits_in(name: &str) -> String {
    match name.trim().trim_start_matches(['.', '_']) {
        "0" => String::new(),
        name => name.to_owned(),
    }
}

/// `stat`: the name is in brackets and may itself have brackets and spaces.
fn parse_stat(text: &str) -> Option<Process> {
    let (before, after) = (text.find('(')?, text.rfind(')')?);
    let fields: Vec<&str> = text.get(after + 1..)?.split_whitespace().collect();
    // proc(5) counts from 1, and the first field behind the name is the third.
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
    let unsigned = |number| field(number).parse::<u64>().unwrap_or(0);
    let signed = |number| field(number).parse::<i64>().unwrap_or(0);
    let tgid = text.get(..before)?.trim().parse().ok()?;
    Some(Process {
        tgid,
        tid: tgid,
        name: printable(text.get(before + 1..after)?),
        state: field(3).to_owned(),
        parent: field(4).parse().ok()?,
        group: signed(5),
        session: signed(6),
        terminal: unsigned(7),
        terminal_group: signed(8),
        flags: unsigned(9),
        minor_faults: unsigned(10),
        major_faults: unsigned(12),
        cpu_time: unsigned(14) + unsigned(15),
        priority: signed(18),
        nice: signed(19),
        threads: unsigned(20),
        started: unsigned(22),
        virtual_size: unsigned(23) / 1024,
        processor: unsigned(39),
        realtime_priority: unsigned(40),
        policy: unsigned(41),
        ..Process::default()
    })
}

/// `status` has what `stat` lacks, and exact sizes; a dead process has none.
fn read_status(text: &str, process: &mut Process) {
    let ids = |value: &str| -> Option<[u32; 4]> {
        value
            .split_whitespace()
            .map(|id| id.parse().ok())
            .collect::<Option<Vec<_>>>()?
            .try_into()
            .ok()
    };
    let size = |value: &str| value.split_whitespace().next()?.parse().ok();
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        match key {
            "Tgid" => process.tgid = value.trim().parse().unwrap_or(process.tgid),
            "Uid" => process.uids = ids(value).unwrap_or_default(),
            "Gid" => process.gids = ids(value).unwrap_or_default(),
            "VmRSS" => process.resident = size(value).unwrap_or(0),
            "VmLck" => process.locked = size(value).unwrap_or(0),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "4021 (a) b (c)) S 1 2 3 34816 4 4194560 5 0 6 0 70 30 0 0 20 -5 9 0 \
        1100 8192 3 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 50 2 0 0 0 0 0 0 0 0 0 0 0 0 0";

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let process = parse_stat(STAT).unwrap();
        assert_eq!((process.tgid, process.name.as_str()), (4021, "a) b (c)"));
        assert_eq!((process.state.as_str(), process.parent, process.group), ("S", 1, 2));
        assert_eq!((process.session, process.terminal, process.terminal_group), (3, 34816, 4));
        assert_eq!((process.minor_faults, process.major_faults, process.cpu_time), (5, 6, 100));
        assert_eq!((process.priority, process.nice, process.threads), (20, -5, 9));
        assert_eq!((process.started, process.virtual_size, process.processor), (1100, 8, 1));
        assert_eq!((process.realtime_priority, process.policy), (50, 2));
    }

    #[test]
    fn what_is_no_stat_is_no_process() {
        for text in ["", "1", "1 (x", "1 x) S 1", ") (", "x (y) S 1"] {
            assert_eq!(parse_stat(text), None, "{text}");
        }
    }

    #[test]
    fn status_tells_whose_it_is() {
        let mut process = Process::default();
        read_status(
            "VmRSS:\t 8 kB\nTgid:\t7\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nVmLck:\t 4 kB\n",
            &mut process,
        );
        assert_eq!((process.tgid, process.uids, process.gids), (7, [1, 2, 3, 4], [5, 6, 7, 8]));
        assert_eq!((process.locked, process.resident), (4, 8));
    }

    #[test]
    fn arguments_are_one_harmless_line() {
        assert_eq!(arguments(b"sh\0-c\0a  b\n\x1b[2Jc\0\0"), "sh -c a b??[2Jc");
        assert_eq!(arguments("\u{9b}31m é".as_bytes()), "?31m é");
        assert_eq!(arguments(b""), "");
    }

    #[test]
    fn a_place_in_the_kernel_has_no_dots() {
        assert_eq!((waits_in("0"), waits_in("__do_wait\n")), (String::new(), "do_wait".to_owned()));
    }
}
