//! Users and groups of an image, from its own files.
//!
//! Owns a bounded parser of passwd(5) and group(5) and Docker's rule of what `user[:group]` means.
//! Pure: the caller reads the files, with a cap ([`MAX_FILE`]), through a `Root`; a missing file is
//! an empty one. Never the host's own users: the C library's look-ups (NSS) would load code.

/// The most that is read of either file.
pub const MAX_FILE: u64 = 4 << 20;

/// Longer lines are skipped, as if they were not there.
const MAX_LINE: usize = 64 << 10;

/// Docker's limit; it also keeps `(uid_t)-1`, "no change", away from the kernel.
const MAX_ID: u32 = i32::MAX.unsigned_abs();

/// The contents of the two files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Databases<'a> {
    /// `/etc/passwd`.
    pub passwd: &'a [u8],
    /// `/etc/group`.
    pub group: &'a [u8],
}

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// All groups, the primary one first, each once: what Docker gives as `additionalGids`.
    /// Leaving the primary one out lets a process shed a group that denies it access.
    pub groups: Vec<u32>,
    /// The home directory, `/` if passwd names none.
    pub home: String,
}

/// A user or a group that cannot be resolved; the words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No passwd line has this name.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoSuchUser(String),
    /// No group line has this name.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoSuchGroup(String),
    /// A number outside of what Docker accepts.
    #[error("uids and gids must be in range 0-{MAX_ID}")]
    OutOfRange,
}

/// What one side of the colon says.
enum Named<'a> {
    Nothing,
    /// Always an id, even where a line has this very text as its name (CVE-2016-3697 and its
    /// return in CVE-2026-46680).
    Number(u32),
    Name(&'a str),
}

impl<'a> Named<'a> {
    fn parse(text: &'a str) -> Result<Self, UserError> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if text.is_empty() {
            return Ok(Self::Nothing);
        }
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Self::Name(text));
        }
        let id = text.parse().map_err(|_| UserError::OutOfRange)?;
        if id > MAX_ID { Err(UserError::OutOfRange) } else { Ok(Self::Number(id)) }
    }
}

/// Resolves `user`, `user:group`, `:group` or nothing (which is the user with id 0).
///
/// Either side may be a name or a number. Without a group, the groups that name the user as a
/// member come too; with one they do not.
pub fn resolve(text: &str, databases: &Databases<'_>) -> Result<Identity, UserError> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let wanted = Named::parse(user)?;
    let line = passwd_lines(databases.passwd).find(|line| match wanted {
        Named::Nothing => line.uid == 0,
        Named::Number(uid) => line.uid == uid,
        Named::Name(name) => line.name == name.as_bytes(),
    });
    let (uid, primary) = match (&line, wanted) {
        (Some(line), _) => (line.uid, line.gid),
        (None, Named::Nothing) => (0, 0),
        (None, Named::Number(uid)) => (uid, 0),
        (None, Named::Name(name)) => return Err(UserError::NoSuchUser(name.to_owned())),
    };
    let (gid, mut groups) = match Named::parse(group)? {
        Named::Nothing => {
            let name = line.as_ref().map_or(&b""[..], |line| line.name);
            (primary, groups_of(name, databases.group))
        }
        Named::Number(gid) => (gid, Vec::new()),
        Named::Name(name) => (group_id(name, databases.group)?, Vec::new()),
    };
    groups.retain(|group| *group != gid);
    groups.insert(0, gid);
    Ok(Identity { uid, gid, groups, home: home_in(line.as_ref()) })
}

/// The home directory of a user; the first line that has the number, `/` if none has.
#[must_use]
pub fn home(uid: u32, passwd_file: &[u8]) -> String {
    home_in(passwd_lines(passwd_file).find(|line| line.uid == uid).as_ref())
}

/// A variable of an environment cannot have a zero byte, so that a home with one is none.
fn home_in(line: Option<&PasswdLine<'_>>) -> String {
    let named = line.map(|line| String::from_utf8_lossy(line.home).into_owned());
    named.filter(|home| !home.is_empty() && !home.contains('\0')).unwrap_or_else(|| "/".to_owned())
}

/// Resolves one group, as `--group-add` names it.
pub fn resolve_group(text: &str, group_file: &[u8]) -> Result<u32, UserError> {
    match Named::parse(text)? {
        Named::Number(gid) => Ok(gid),
        Named::Name(name) => group_id(name, group_file),
        Named::Nothing => Err(UserError::NoSuchGroup(String::new())),
    }
}

fn group_id(name: &str, file: &[u8]) -> Result<u32, UserError> {
    let line = group_lines(file).find(|line| line.name == name.as_bytes());
    line.map(|line| line.gid).ok_or_else(|| UserError::NoSuchGroup(name.to_owned()))
}

/// What a user is called; the first line that has the number.
#[must_use]
pub fn user_name(uid: u32, passwd_file: &[u8]) -> Option<String> {
    let line = passwd_lines(passwd_file).find(|line| line.uid == uid)?;
    Some(String::from_utf8_lossy(line.name).into_owned())
}

/// What a group is called; the first line that has the number.
#[must_use]
pub fn group_name(gid: u32, group_file: &[u8]) -> Option<String> {
    let line = group_lines(group_file).find(|line| line.gid == gid)?;
    Some(String::from_utf8_lossy(line.name).into_owned())
}

/// The groups that have `user` as a member, in the order of the file, each once; as many as leave
/// room for the primary one.
fn groups_of(user: &[u8], file: &[u8]) -> Vec<u32> {
    let mut seen = std::collections::HashSet::new();
    group_lines(file)
        .filter(|line| !user.is_empty() && line.members.split(|b| *b == b',').any(|m| m == user))
        .map(|line| line.gid)
        .filter(|gid| seen.insert(*gid))
        .take(MAX_GROUPS - 1)
        .collect()
}

/// `NGROUPS_MAX`; setgroups(2) refuses more.
pub const MAX_GROUPS: usize = 65_536;

struct PasswdLine<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// `name:password:uid:gid:comment:home:shell`; lines of another form are skipped.
fn passwd_lines(file: &[u8]) -> impl Iterator<Item = PasswdLine<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next()?;
        let (uid, gid) = (id(fields.nth(1)?)?, id(fields.next()?)?);
        let home = fields.nth(1).unwrap_or_default();
        (!name.is_empty()).then_some(PasswdLine { name, uid, gid, home })
    })
}

struct GroupLine<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

/// `name:password:gid:member,member`; lines of another form are skipped.
fn group_lines(file: &[u8]) -> impl Iterator<Item = GroupLine<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next()?;
        let gid = id(fields.nth(1)?)?;
        let members = fields.next().unwrap_or_default();
        (!name.is_empty()).then_some(GroupLine { name, gid, members })
    })
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let fit = file.split(|b| *b == b'\n').filter(|line| line.len() <= MAX_LINE);
    fit.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty() && line[0] != b'#')
}

fn id(field: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(field).ok().filter(|f| !f.starts_with('+'))?;
    digits.parse().ok().filter(|id| *id <= MAX_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        # a comment\n\
        broken\n\
        negative:x:-1:0::/:\n\
        1000:x:5:5::/trap:\n\
        toobig:x:2147483648:0::/:\n\
        unchanged:x:4294967295:0::/:\n\
        plus:x:+0:0::/:\n\
        web:x:33:33::/var/www:/bin/sh\n\
        nohome:x:34:34\n\
        \n";
    const GROUP: &[u8] = b"root:x:0:\n\
        www:x:33:\n\
        tape:x:26:web,root\n\
        again:x:26:web\n\
        audio:x:29:web\n\
        7:x:70:\n";
    const FILES: Databases<'_> = Databases { passwd: PASSWD, group: GROUP };

    fn ids(text: &str) -> Result<(u32, u32, Vec<u32>), UserError> {
        resolve(text, &FILES).map(|found| (found.uid, found.gid, found.groups))
    }

    #[test]
    fn numbers_have_names() {
        assert_eq!(user_name(33, PASSWD).as_deref(), Some("web"));
        assert_eq!(group_name(26, GROUP).as_deref(), Some("tape"));
        assert_eq!((user_name(9, PASSWD), group_name(9, GROUP)), (None, None));
    }

    #[test]
    fn names_and_numbers_resolve_as_in_docker() {
        assert_eq!(ids(""), Ok((0, 0, vec![0, 26])));
        assert_eq!(ids("web"), Ok((33, 33, vec![33, 26, 29])));
        assert_eq!(ids("33"), Ok((33, 33, vec![33, 26, 29])));
        assert_eq!(ids("web:audio"), Ok((33, 29, vec![29])));
        assert_eq!(ids("web:0"), Ok((33, 0, vec![0])));
        assert_eq!(ids("4711"), Ok((4711, 0, vec![0])));
        assert_eq!(ids("4711:4712"), Ok((4711, 4712, vec![4712])));
        assert_eq!(ids("1000:"), Ok((1000, 0, vec![0])));
        assert_eq!(ids(":1000"), Ok((0, 1000, vec![1000])));
    }

    #[test]
    fn a_number_is_never_looked_up_as_a_name() {
        assert_eq!(ids("1000"), Ok((1000, 0, vec![0])));
        assert_eq!(ids("0:7"), Ok((0, 7, vec![7])));
    }

    #[test]
    fn ids_out_of_range_are_refused() {
        for text in ["-1", "2147483648", "4294967295", "4294967296", "0:-1", "0:4294967296"] {
            assert_eq!(ids(text), Err(UserError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn unknown_names_are_named_in_dockers_words() {
        assert_eq!(
            ids("nosuch").unwrap_err().to_string(),
            "unable to find user nosuch: no matching entries in passwd file"
        );
        assert_eq!(
            ids("web:nosuch").unwrap_err().to_string(),
            "unable to find group nosuch: no matching entries in group file"
        );
        assert_eq!(ids("0x0"), Err(UserError::NoSuchUser("0x0".to_owned())));
        for name in ["negative", "toobig", "unchanged", "plus"] {
            assert_eq!(ids(name), Err(UserError::NoSuchUser(name.to_owned())));
        }
    }

    #[test]
    fn homes_come_from_passwd_and_default_to_the_root() {
        let home = |text| resolve(text, &FILES).unwrap().home;
        assert_eq!(home("web"), "/var/www");
        assert_eq!(home("nohome"), "/");
        assert_eq!(home("4711"), "/");
        assert_eq!(resolve("7:8", &Databases::default()).unwrap().home, "/");
        let by_number = [33, 34, 4711].map(|uid| super::home(uid, PASSWD));
        assert_eq!(by_number, ["/var/www", "/", "/"]);
        assert_eq!(super::home(1, b"one:x:1:1::/a\0b:/bin/sh\n"), "/");
    }

    #[test]
    fn an_endless_line_is_skipped() {
        let mut passwd = b"web:x:1:1:".to_vec();
        passwd.extend_from_slice(&[b'a'; MAX_LINE]);
        passwd.extend_from_slice(b":/:\nweb:x:33:33::/:\n");
        let files = Databases { passwd: &passwd, group: b"" };
        assert_eq!(resolve("web", &files).unwrap().uid, 33);
    }

    #[test]
    fn no_more_groups_than_the_kernel_takes() {
        let group: String = (1..70_000).map(|gid| format!("g:x:{gid}:web\n")).collect();
        let files = Databases { passwd: b"web:x:33:4711111::/:\n", group: group.as_bytes() };
        assert_eq!(resolve("web", &files).unwrap().groups.len(), MAX_GROUPS);
    }

    #[test]
    fn one_added_group_resolves_alone() {
        assert_eq!(resolve_group("audio", GROUP), Ok(29));
        assert_eq!(resolve_group("7", GROUP), Ok(7));
        assert!(resolve_group("", GROUP).is_err());
    }
}
