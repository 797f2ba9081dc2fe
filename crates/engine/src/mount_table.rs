//! The kernel's list of the mounts of a namespace (proc_pid_mountinfo(5)), read.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// The number that `statx(2)` gives as well.
    pub(crate) id: u64,
    /// What of its file system it shows.
    pub(crate) root: &'a str,
    /// Where it is, as the owner of the list sees it, escaped.
    pub(crate) point: &'a str,
    /// `shared:N`, `master:N` and their like, between spaces.
    pub(crate) optional: &'a str,
    /// The kind of its file system.
    pub(crate) kind: &'a str,
    /// What mount(8) shows as its device.
    pub(crate) source: &'a str,
}

impl<'a> Entry<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (own, of_kind) = line.split_once(" - ")?;
        let mut fields = own.splitn(7, ' ');
        let id = fields.next()?.parse().ok()?;
        let (root, point) = (fields.nth(2)?, fields.next()?);
        let optional = fields.nth(1).unwrap_or_default();
        let mut fields = of_kind.split(' ');
        Some(Self { id, root, point, optional, kind: fields.next()?, source: fields.next()? })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        OsString::from_vec(unescape(self.point.as_bytes())).into()
    }
}

/// Every mount of a list.
pub(crate) fn entries(table: &str) -> impl Iterator<Item = Entry<'_>> {
    table.lines().filter_map(Entry::read)
}

/// Spaces, tabs, newlines and backslashes are three octal digits behind a backslash.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, more @ ..] = rest {
        let digits = more.get(..3).filter(|_| *first == b'\\');
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(code.unwrap_or(*first));
        rest = if code.is_some() { &more[3..] } else { more };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_what_is_optional_and_without() {
        let table = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                     31 22 0:27 /part /a\\040b\\134c rw shared:5 master:9 - tmpfs none rw\n\
                     nonsense\n";
        let read: Vec<Entry<'_>> = entries(table).collect();
        let shown = |entry: &Entry<'_>| {
            let path = entry.path().display().to_string();
            format!("{} {} {path} {:?} {}", entry.id, entry.root, entry.optional, entry.kind)
        };
        let shown: Vec<String> = read.iter().map(shown).collect();
        assert_eq!(shown, [r#"22 / / "" ext4"#, r#"31 /part /a b\c "shared:5 master:9" tmpfs"#]);
        assert_eq!(read[1].source, "none");
    }

    #[test]
    fn what_is_no_escape_stays() {
        for (text, plain) in [("\\04", "\\04"), ("\\999", "\\999"), ("\\", "\\"), ("a\\012", "a\n")]
        {
            assert_eq!(unescape(text.as_bytes()), plain.as_bytes(), "{text}");
        }
    }
}
