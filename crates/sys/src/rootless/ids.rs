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
    /// What it is called.
    pub name: Name,
}

/// What a user is called. Directories of users in the network are not asked: that takes libraries of the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// So `/etc/passwd` says.
    Listed(String),
    /// So the user's surroundings say. If that is not true, newuidmap(1) knows better, and refuses.
    Said(String),
    /// Nobody says.
    Unknown,
}

impl Name {
    fn as_str(&self) -> Option<&str> {
        match self {
            Self::Listed(name) | Self::Said(name) => Some(name),
            Self::Unknown => None,
        }
    }
}

impl User {
    /// The user of this id, with the name that a passwd(5) file gives it, or else with the one it is `called`
    /// by, unless that is another's in the file.
    #[must_use]
    pub fn find(uid: u32, gid: u32, passwd: &str, called: Option<&str>) -> Self {
        let entries = || {
            passwd.lines().filter_map(|line| {
                let mut fields = line.split(':');
                let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
                Some((name, number))
            })
        };
        let listed = entries().find(|(_, number)| number.parse() == Ok(uid));
        let said = called.filter(|called| entries().all(|(name, _)| name != *called));
        let name = match (listed, said) {
            (Some((name, _)), _) => Name::Listed(name.to_owned()),
            (None, Some(name)) => Name::Said(name.to_owned()),
            (None, None) => Name::Unknown,
        };
        Self { uid, gid, name }
    }

    /// What gives it ids. usermod(8) knows only whom `/etc/passwd` has.
    pub(super) fn remedy(&self) -> String {
        let line = format!("the line {self}:100000:65536");
        match &self.name {
            Name::Listed(name) => format!(
                "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name} (a range that no \
                 other line has), which adds {line}"
            ),
            Name::Said(_) | Name::Unknown => {
                format!(
                    "as root, add {line} to both /etc/subuid and /etc/subgid (a range that no other line has)"
                )
            }
        }
    }
}

impl fmt::Display for User {
    /// As the files and usermod(8) name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
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

impl Range {
    /// Those of its ids that `taken` has not: before it, and behind it.
    fn without(self, taken: Self) -> impl Iterator<Item = Self> {
        let end = |range: Self| range.first.saturating_add(range.count);
        let before = (self.first, end(self).min(taken.first));
        let behind = (self.first.max(end(taken)), end(self));
        let range = |(first, end): (u32, u32)| Self { first, count: end.saturating_sub(first) };
        [before, behind].map(range).into_iter().filter(|range| range.count > 0)
    }
}

/// The ranges that a file grants a user, by name or by number, in the order of the file (subuid(5)). A
/// line that names ids beyond the last one grants nothing. No id is granted twice, and the `own` one is had
/// anyway: the kernel refuses a map in which an id is more than once.
#[must_use]
pub fn granted(file: &str, user: &User, own: u32) -> Vec<Range> {
    let mut had = vec![Range { first: own, count: 1 }];
    for range in lines(file, user) {
        let new = had.iter().fold(vec![range], |left, taken| {
            left.into_iter().flat_map(|range| range.without(*taken)).collect()
        });
        had.extend(new);
    }
    had.split_off(1)
}

fn lines(file: &str, user: &User) -> Vec<Range> {
    let own = user.uid.to_string();
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (first, count): (u32, u32) =
            (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let is_ours = owner == own || Some(owner) == user.name.as_str();
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

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nann:x:1000:100::/home/ann:/bin/sh\n";

    fn user() -> User {
        User::find(1000, 100, PASSWD, Some("bob"))
    }

    #[test]
    fn a_user_without_a_name_is_a_number() {
        assert_eq!(user().to_string(), "ann");
        assert_eq!(User::find(7, 7, PASSWD, None).to_string(), "7");
    }

    #[test]
    fn whom_the_file_does_not_have_is_called_as_others_say() {
        let (bob, other) =
            (User::find(7, 7, PASSWD, Some("bob")), User::find(7, 7, PASSWD, Some("ann")));
        assert_eq!(bob.name, Name::Said("bob".to_owned()));
        assert_eq!(other.name, Name::Unknown, "ann is another");
        let file = "ann:100000:65536\nbob:200000:65536\n";
        assert_eq!(granted(file, &bob, 7), [Range { first: 200_000, count: 65_536 }]);
        assert_eq!(granted(file, &other, 7), []);
        assert!(user().remedy().contains("usermod --add-subuids"), "{}", user().remedy());
        assert!(!bob.remedy().contains("usermod") && bob.remedy().contains("bob:100000:65536"));
        assert!(!other.remedy().contains("usermod") && other.remedy().contains(" 7:100000:65536"));
    }

    #[test]
    fn lines_of_a_name_and_of_a_number_both_grant() {
        let file = "ann:100000:65536\nbob:200000:65536\n1000:300000:10\n10:1:1\nann:x:1\nann:1\n\
                    ann:4294967295:2\nann:5:0\nann:5:1:1\n";
        let got = granted(file, &user(), 1000);
        assert_eq!(
            got,
            [Range { first: 100_000, count: 65_536 }, Range { first: 300_000, count: 10 }]
        );
        assert_eq!(total(&got), 65_546);
        assert_eq!(granted("ann:100000:65536\n", &User::find(7, 7, "", None), 7), []);
    }

    #[test]
    fn no_id_is_granted_twice() {
        let ranges = |file| {
            let pair = |range: &Range| (range.first, range.count);
            granted(file, &user(), 1000).iter().map(pair).collect::<Vec<_>>()
        };
        // By name and by number.
        assert_eq!(ranges("ann:100000:65536\n1000:100000:65536\n"), [(100_000, 65_536)]);
        assert_eq!(ranges("ann:100:100\nann:150:100\n"), [(100, 100), (200, 50)]);
        assert_eq!(ranges("ann:150:10\nann:100:100\n"), [(150, 10), (100, 50), (160, 40)]);
        assert_eq!(ranges("ann:900:200\n"), [(900, 100), (1001, 99)], "without the user's own");
        assert_eq!(ranges("ann:1000:1\n"), []);
    }

    #[test]
    fn roots_id_is_the_users_own_and_the_others_follow() {
        let ranges = [Range { first: 100_000, count: 5 }, Range { first: 300_000, count: 2 }];
        assert_eq!(arguments(1000, &ranges).join(" "), "0 1000 1 1 100000 5 6 300000 2");
        assert_eq!(arguments(1000, &[]).join(" "), "0 1000 1");
    }
}
