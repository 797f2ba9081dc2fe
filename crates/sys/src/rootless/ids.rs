//! Which ids an ordinary user may map, from `/etc/subuid` and `/etc/subgid`, and the map made of them.
//!
//! Pure. newuidmap(1) judges by the same files and refuses what they do not grant.

use std::fmt;

/// Fewer than these, and images whose files belong to `nobody` (65534) do not fit.
pub const WANTED: u32 = 1 << 16;

/// A user of the host who is not root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    /// What `/etc/passwd` calls it; `None` if it is not there.
    pub name: Option<String>,
}

impl User {
    /// The user of this id, with the name that a passwd(5) file gives it.
    #[must_use]
    pub fn find(uid: u32, gid: u32, passwd: &str) -> Self {
        let name = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
            (number.parse() == Ok(uid)).then(|| name.to_owned())
        });
        Self { uid, gid, name }
    }
}

impl fmt::Display for User {
    /// As the files and usermod(8) name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.uid),
        }
    }
}

/// Ids of the host, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// The ranges that a file grants a user, by name or by number, in the order of the file (subuid(5)). A
/// line that names ids beyond the last one grants nothing.
#[must_use]
pub fn granted(file: &str, user: &User) -> Vec<Range> {
    let own = user.uid.to_string();
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (first, count): (u32, u32) =
            (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let is_ours = owner == own || Some(owner) == user.name.as_deref();
        let ends = first.checked_add(count).is_some();
        (is_ours && ends && count > 0 && fields.next().is_none()).then_some(Range { first, count })
    };
    file.lines().filter_map(range).collect()
}

/// How many ids they are together.
#[must_use]
pub fn total(ranges: &[Range]) -> u32 {
    ranges.iter().fold(0, |sum, range| sum.saturating_add(range.count))
}

/// The arguments of newuidmap(1) and newgidmap(1) behind the process: the namespace's 0 is the user's own
/// id, and what is granted follows from 1 on.
#[must_use]
pub fn arguments(own: u32, ranges: &[Range]) -> Vec<String> {
    let mut words = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
    let mut inside = 1_u32;
    for range in ranges {
        words.extend([inside, range.first, range.count].map(|number| number.to_string()));
        inside = inside.saturating_add(range.count);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User::find(1000, 100, "root:x:0:0::/root:/bin/sh\nann:x:1000:100::/home/ann:/bin/sh\n")
    }

    #[test]
    fn a_user_without_a_name_is_a_number() {
        assert_eq!(user().to_string(), "ann");
        assert_eq!(User::find(7, 7, "ann:x:1000:100::/:/\n").to_string(), "7");
    }

    #[test]
    fn lines_of_a_name_and_of_a_number_both_grant() {
        let file = "ann:100000:65536\nbob:200000:65536\n1000:300000:10\n10:1:1\nann:x:1\nann:1\n\
                    ann:4294967295:2\nann:5:0\nann:5:1:1\n";
        let got = granted(file, &user());
        assert_eq!(
            got,
            [Range { first: 100_000, count: 65_536 }, Range { first: 300_000, count: 10 }]
        );
        assert_eq!(total(&got), 65_546);
        assert_eq!(granted("ann:100000:65536\n", &User::find(7, 7, "")), []);
    }

    #[test]
    fn roots_id_is_the_users_own_and_the_others_follow() {
        let ranges = [Range { first: 100_000, count: 5 }, Range { first: 300_000, count: 2 }];
        assert_eq!(arguments(1000, &ranges).join(" "), "0 1000 1 1 100000 5 6 300000 2");
        assert_eq!(arguments(1000, &[]).join(" "), "0 1000 1");
    }
}
