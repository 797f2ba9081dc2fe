//! The columns of ps: their names, their titles, and how each shows a process.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::moment::Reference;
use sys::users;

use super::TICKS;
use super::process::Process;

const DAY: u64 = 24 * 60 * 60;
/// ps gives a name so much room, and ends one that is longer with a `+`.
const NAME_WIDTH: usize = 8;

/// What the columns need beside the process.
#[derive(Debug)]
pub struct Host {
    pub(super) now: Reference,
    /// Seconds since 1970.
    pub(super) boot: i64,
    /// Seconds.
    pub(super) uptime: u64,
    /// Bytes.
    pub(super) memory: u64,
    pub(super) passwd: Vec<u8>,
    pub(super) group: Vec<u8>,
}

/// How a column shows a process.
type Cell = fn(&Process, &Host) -> String;

/// A column as it is wanted.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) title: String,
    cell: Cell,
}

impl Column {
    /// What it shows.
    pub(super) fn cell(&self, process: &Process, host: &Host) -> String {
        (self.cell)(process, host)
    }

    /// The column of that name, as `-o` names it.
    pub(super) fn named(name: &str) -> Option<Self> {
        let known = COLUMNS.iter().find(|known| known.0 == name);
        known.map(|(_, title, cell)| Self { title: (*title).to_owned(), cell: *cell })
    }
}

/// Name, title and content.
const COLUMNS: &[(&str, &str, Cell)] = &[
    ("pid", "PID", |process, _| process.tgid.to_string()),
    ("tgid", "TGID", |process, _| process.tgid.to_string()),
    ("lwp", "LWP", |process, _| process.tid.to_string()),
    ("spid", "SPID", |process, _| process.tid.to_string()),
    ("tid", "TID", |process, _| process.tid.to_string()),
    ("ppid", "PPID", |process, _| process.parent.to_string()),
    ("pgid", "PGID", |process, _| process.group.to_string()),
    ("pgrp", "PGRP", |process, _| process.group.to_string()),
    ("sid", "SID", |process, _| process.session.to_string()),
    ("sess", "SESS", |process, _| process.session.to_string()),
    ("session", "SESS", |process, _| process.session.to_string()),
    ("tpgid", "TPGID", |process, _| process.terminal_group.to_string()),
    ("nlwp", "NLWP", |process, _| process.threads.to_string()),
    ("thcount", "THCNT", |process, _| process.threads.to_string()),
    ("uid", "UID", |process, _| process.uids[1].to_string()),
    ("euid", "EUID", |process, _| process.uids[1].to_string()),
    ("ruid", "RUID", |process, _| process.uids[0].to_string()),
    ("suid", "SUID", |process, _| process.uids[2].to_string()),
    ("fuid", "FUID", |process, _| process.uids[3].to_string()),
    ("gid", "GID", |process, _| process.gids[1].to_string()),
    ("egid", "EGID", |process, _| process.gids[1].to_string()),
    ("rgid", "RGID", |process, _| process.gids[0].to_string()),
    ("sgid", "SGID", |process, _| process.gids[2].to_string()),
    ("fgid", "FGID", |process, _| process.gids[3].to_string()),
    ("user", "USER", |process, host| user(process.uids[1], host)),
    ("euser", "EUSER", |process, host| user(process.uids[1], host)),
    ("uname", "USER", |process, host| user(process.uids[1], host)),
    ("ruser", "RUSER", |process, host| user(process.uids[0], host)),
    ("group", "GROUP", |process, host| group(process.gids[1], host)),
    ("egroup", "EGROUP", |process, host| group(process.gids[1], host)),
    ("rgroup", "RGROUP", |process, host| group(process.gids[0], host)),
    ("comm", "COMMAND", |process, _| name(process)),
    ("ucmd", "CMD", |process, _| name(process)),
    ("ucomm", "COMMAND", |process, _| name(process)),
    ("args", "COMMAND", |process, _| command(process)),
    ("cmd", "CMD", |process, _| command(process)),
    ("command", "COMMAND", |process, _| command(process)),
    ("etime", "ELAPSED", |process, host| elapsed(age(process, host))),
    ("etimes", "ELAPSED", |process, host| age(process, host).to_string()),
    ("time", "TIME", |process, _| clock(process.cpu_time / TICKS)),
    ("cputime", "TIME", |process, _| clock(process.cpu_time / TICKS)),
    ("times", "TIME", |process, _| (process.cpu_time / TICKS).to_string()),
    ("cputimes", "TIME", |process, _| (process.cpu_time / TICKS).to_string()),
    ("bsdtime", "TIME", |process, _| minutes(process.cpu_time / TICKS)),
    ("stime", "STIME", start_day),
    ("start_time", "START", start_day),
    ("start", "STARTED", start_second),
    ("bsdstart", "START", start_minute),
    ("lstart", "STARTED", |process, host| started(process, host, "%a %b %e %H:%M:%S %Y")),
    ("c", "C", |process, host| (permille(process, host) / 10).min(99).to_string()),
    ("util", "C", |process, host| (permille(process, host) / 10).min(99).to_string()),
    ("pcpu", "%CPU", processor_share),
    ("%cpu", "%CPU", processor_share),
    ("pmem", "%MEM", memory_share),
    ("%mem", "%MEM", memory_share),
    ("rss", "RSS", |process, _| process.resident.to_string()),
    ("rssize", "RSS", |process, _| process.resident.to_string()),
    ("rsz", "RSZ", |process, _| process.resident.to_string()),
    ("vsz", "VSZ", |process, _| process.virtual_size.to_string()),
    ("vsize", "VSZ", |process, _| process.virtual_size.to_string()),
    ("sz", "SZ", |process, _| process.virtual_pages.to_string()),
    ("stat", "STAT", state),
    ("s", "S", |process, _| process.state.clone()),
    ("state", "S", |process, _| process.state.clone()),
    ("ni", "NI", nice),
    ("nice", "NI", nice),
    ("pri", "PRI", |process, _| (39 - process.priority).to_string()),
    ("opri", "PRI", |process, _| (60 + process.priority).to_string()),
    ("intpri", "PRI", |process, _| (60 + process.priority).to_string()),
    ("priority", "PRI", |process, _| process.priority.to_string()),
    ("rtprio", "RTPRIO", realtime_priority),
    ("cls", "CLS", |process, _| class(process.policy)),
    ("class", "CLS", |process, _| class(process.policy)),
    ("policy", "POL", |process, _| class(process.policy)),
    ("sched", "SCH", |process, _| process.policy.to_string()),
    ("psr", "PSR", |process, _| process.processor.to_string()),
    ("tty", "TT", |process, _| terminal(process.terminal)),
    ("tt", "TT", |process, _| terminal(process.terminal)),
    ("tname", "TTY", |process, _| terminal(process.terminal)),
    ("wchan", "WCHAN", |process, _| waits_in(process)),
    ("f", "F", flags),
    ("flag", "F", flags),
    ("flags", "F", flags),
    ("minflt", "MINFLT", |process, _| process.minor_faults.to_string()),
    ("min_flt", "MINFL", |process, _| process.minor_faults.to_string()),
    ("majflt", "MAJFLT", |process, _| process.major_faults.to_string()),
    ("maj_flt", "MAJFL", |process, _| process.major_faults.to_string()),
    // There has been no such address for long; `-l` has its column all the same.
    ("addr", "ADDR", |_, _| "-".to_owned()),
];

fn user(uid: u32, host: &Host) -> String {
    cut(users::user_name(uid, &host.passwd).unwrap_or_else(|| uid.to_string()))
}

fn group(gid: u32, host: &Host) -> String {
    cut(users::group_name(gid, &host.group).unwrap_or_else(|| gid.to_string()))
}

fn cut(name: String) -> String {
    if name.chars().count() <= NAME_WIDTH {
        return name;
    }
    name.chars().take(NAME_WIDTH - 1).chain(['+']).collect()
}

fn is_dead(process: &Process) -> bool {
    process.state == "Z"
}

fn name(process: &Process) -> String {
    let name = process.name.clone();
    if is_dead(process) { name + " <defunct>" } else { name }
}

/// One without arguments is shown by its name.
fn command(process: &Process) -> String {
    match &process.arguments {
        arguments if !arguments.is_empty() => arguments.clone(),
        _ if is_dead(process) => format!("[{}] <defunct>", process.name),
        _ => format!("[{}]", process.name),
    }
}

/// Seconds.
fn age(process: &Process, host: &Host) -> u64 {
    host.uptime.saturating_sub(process.started / TICKS)
}

/// `1-02:03:04`, `02:03:04`, `03:04`.
fn elapsed(seconds: u64) -> String {
    if seconds >= 60 * 60 {
        clock(seconds)
    } else {
        format!("{:02}:{:02}", seconds / 60, seconds % 60)
    }
}

/// `1-02:03:04`, `02:03:04`.
fn clock(seconds: u64) -> String {
    let (days, rest) = (seconds / DAY, seconds % DAY);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 { format!("{days}-{clock}") } else { clock }
}

fn minutes(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// When it began, in the time zone of whoever asks.
fn began(process: &Process, host: &Host) -> jiff::Zoned {
    let seconds = host.boot.saturating_add_unsigned(process.started / TICKS);
    let began = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    began.to_zoned(host.now.zone.clone())
}

fn started(process: &Process, host: &Host, format: &str) -> String {
    began(process, host).strftime(format).to_string()
}

fn start_day(process: &Process, host: &Host) -> String {
    let zone: TimeZone = host.now.zone.clone();
    let (began, now) = (began(process, host), host.now.now.to_zoned(zone));
    let format = if began.year() != now.year() {
        "%Y"
    } else if began.day_of_year() != now.day_of_year() {
        "%b%d"
    } else {
        "%H:%M"
    };
    began.strftime(format).to_string()
}

fn start_second(process: &Process, host: &Host) -> String {
    started(process, host, if age(process, host) > DAY { "%b %d" } else { "%H:%M:%S" })
}

fn start_minute(process: &Process, host: &Host) -> String {
    started(process, host, if age(process, host) > DAY { "%b %e" } else { "%H:%M" })
}

/// Thousandths of one processor over the whole life.
fn permille(process: &Process, host: &Host) -> u64 {
    (process.cpu_time * 1000 / TICKS).checked_div(age(process, host)).unwrap_or(0)
}

fn processor_share(process: &Process, host: &Host) -> String {
    match permille(process, host) {
        share @ 0..=999 => format!("{}.{}", share / 10, share % 10),
        share => (share / 10).to_string(),
    }
}

fn memory_share(process: &Process, host: &Host) -> String {
    let share = (process.resident * 1000).checked_div(host.memory / 1024).unwrap_or(0).min(999);
    format!("{}.{}", share / 10, share % 10)
}

fn state(process: &Process, _: &Host) -> String {
    let mut state = process.state.clone();
    match process.nice {
        ..0 => state.push('<'),
        0 => {}
        1.. => state.push('N'),
    }
    let marks = [
        ('L', process.locked > 0),
        ('s', process.session == i64::from(process.tgid)),
        ('l', process.threads > 1),
        ('+', process.group == process.terminal_group),
    ];
    state.extend(marks.iter().filter(|(_, has)| *has).map(|(mark, _)| mark));
    state
}

/// Only the usual and the batch scheduler heed it.
fn nice(process: &Process, _: &Host) -> String {
    if matches!(process.policy, 0 | 3) { process.nice.to_string() } else { "-".to_owned() }
}

fn realtime_priority(process: &Process, _: &Host) -> String {
    if process.policy == 0 { "-".to_owned() } else { process.realtime_priority.to_string() }
}

fn class(policy: u64) -> String {
    const NAMES: [&str; 7] = ["TS", "FF", "RR", "B", "ISO", "IDL", "DLN"];
    let known = usize::try_from(policy).ok().and_then(|policy| NAMES.get(policy));
    known.copied().unwrap_or("?").to_owned()
}

/// The name of a terminal by its device number, of which the minor one lies in two parts.
fn terminal(number: u64) -> String {
    let major = number >> 8 & 0xfff;
    let minor = number & 0xff | number >> 12 & 0xfff00;
    match (major, minor) {
        (136..=143, _) => format!("pts/{}", minor + (major - 136) * 256),
        (4, 0..=63) => format!("tty{minor}"),
        (4, _) => format!("ttyS{}", minor - 64),
        (5, 1) => "console".to_owned(),
        (229, _) => format!("hvc{minor}"),
        _ => "?".to_owned(),
    }
}

/// ps has room for six letters.
fn waits_in(process: &Process) -> String {
    if process.waits_in.is_empty() {
        "-".to_owned()
    } else {
        process.waits_in.chars().take(6).collect()
    }
}

/// Of the kernel's flags, ps tells whether it has not executed anything, and whether as root.
fn flags(process: &Process, _: &Host) -> String {
    format!("{:o}", process.flags >> 6 & 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        let now = Reference { now: "2026-11-22T10:00:00Z".parse().unwrap(), zone: TimeZone::UTC };
        Host {
            boot: now.now.as_second() - 100_000,
            now,
            uptime: 100_000,
            memory: 1 << 30,
            passwd: b"root:x:0:0::/:\nsystemd-resolve:x:7:7::/:\n".to_vec(),
            group: b"root:x:0:\n".to_vec(),
        }
    }

    fn cell(name: &str, process: &Process) -> String {
        Column::named(name).unwrap().cell(process, &host())
    }

    #[test]
    fn no_name_is_there_twice() {
        let mut names: Vec<_> = COLUMNS.iter().map(|column| column.0).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COLUMNS.len());
    }

    #[test]
    fn durations_are_written_as_ps_writes_them() {
        assert_eq!(
            [59, 60, 3600, 93_784].map(elapsed),
            ["00:59", "01:00", "01:00:00", "1-02:03:04"]
        );
        assert_eq!([0, 3661, 86_400].map(clock), ["00:00:00", "01:01:01", "1-00:00:00"]);
        assert_eq!([0, 3661].map(minutes), ["0:00", "61:01"]);
    }

    #[test]
    fn a_start_is_told_the_shorter_the_closer_it_is() {
        let started = |seconds: u64| Process { started: seconds * TICKS, ..Process::default() };
        assert_eq!(cell("stime", &started(99_940)), "09:59");
        assert_eq!(cell("stime", &started(0)), "Nov21");
        let mut host = host();
        host.boot -= 400 * 86_400;
        assert_eq!(Column::named("stime").unwrap().cell(&started(0), &host), "2025");
        assert_eq!(cell("lstart", &started(0)), "Sat Nov 21 06:13:20 2026");
        assert_eq!(cell("start", &started(99_940)), "09:59:00");
        assert_eq!(
            (cell("etime", &started(99_940)), cell("etimes", &started(0))),
            ("01:00".into(), "100000".into())
        );
    }

    #[test]
    fn shares_are_of_the_whole_life() {
        let process = Process {
            started: 99_900 * TICKS,
            cpu_time: 25 * TICKS + 50,
            resident: 10_486,
            ..Process::default()
        };
        assert_eq!([cell("c", &process), cell("pcpu", &process)], ["25", "25.5"]);
        assert_eq!(cell("pmem", &process), "1.0");
        let busy = Process { cpu_time: 300 * TICKS, ..process };
        assert_eq!([cell("c", &busy), cell("%cpu", &busy)], ["99", "300"]);
        let new = Process { started: 100_000 * TICKS, cpu_time: 50, ..Process::default() };
        assert_eq!([cell("c", &new), cell("pcpu", &new)], ["0", "0.0"]);
    }

    #[test]
    fn states_names_and_terminals() {
        let process = Process {
            tgid: 7,
            session: 7,
            group: 7,
            terminal_group: 7,
            threads: 2,
            nice: -1,
            locked: 4,
            state: "S".into(),
            name: "sh".into(),
            uids: [0, 7, 0, 0],
            gids: [5, 5, 5, 5],
            ..Process::default()
        };
        assert_eq!(cell("stat", &process), "S<Lsl+");
        assert_eq!([cell("user", &process), cell("ruser", &process)], ["systemd+", "root"]);
        assert_eq!((cell("group", &process), cell("args", &process)), ("5".into(), "[sh]".into()));
        let dead = Process { state: "Z".into(), ..process };
        assert_eq!([cell("comm", &dead), cell("cmd", &dead)], ["sh <defunct>", "[sh] <defunct>"]);
        let terminals = [0, 34_816, 35_077, 1025, 1088, 1281, 1 << 20 | 136 << 8 | 1];
        let shown = ["?", "pts/0", "pts/261", "tty1", "ttyS0", "console", "pts/257"];
        assert_eq!(terminals.map(terminal), shown);
    }

    #[test]
    fn schedulers() {
        let usual = Process { nice: 5, priority: 25, ..Process::default() };
        assert_eq!(
            [cell("ni", &usual), cell("pri", &usual), cell("opri", &usual)],
            ["5", "14", "85"]
        );
        assert_eq!([cell("cls", &usual), cell("rtprio", &usual)], ["TS", "-"]);
        let urgent = Process { policy: 1, realtime_priority: 50, ..usual };
        assert_eq!(
            [cell("ni", &urgent), cell("cls", &urgent), cell("rtprio", &urgent)],
            ["-", "FF", "50"]
        );
    }
}
