//! Labels of SELinux: what `--security-opt label=…` says, and what follows from it.
//!
//! Pure. Which labels the host's policy has for containers, and which categories are free, the engine
//! brings.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Categories of a policy (`mcs_num_cats`).
pub const CATEGORIES: u16 = 1024;
/// Longest part of a label, and more than any policy has.
const LONGEST: usize = 255;

/// What the user wishes of a container's label. All that is `None` is the policy's.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelWish {
    /// `label=disable`: the container is not confined.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// `label=user:`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `label=role:`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// `label=type:`
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `label=filetype:`
    #[serde(rename = "filetype", skip_serializing_if = "Option::is_none")]
    pub file_kind: Option<String>,
    /// `label=level:`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
}

/// An option that says nothing about labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "bad label option {0:?}: valid are 'disable', or user, role, type, filetype or level, a colon and a value"
)]
pub struct BadLabel(String);

impl LabelWish {
    /// Takes in what stands behind `label=`.
    ///
    /// # Errors
    /// It is no option of labels, or its value cannot be part of one.
    pub fn add(&mut self, option: &str) -> Result<(), BadLabel> {
        let bad = || BadLabel(option.to_owned());
        if option == "disable" {
            self.disabled = true;
            return Ok(());
        }
        let (name, value) = option.split_once(':').ok_or_else(bad)?;
        let (field, is_level) = match name {
            "user" => (&mut self.user, false),
            "role" => (&mut self.role, false),
            "type" => (&mut self.kind, false),
            "filetype" => (&mut self.file_kind, false),
            "level" => (&mut self.level, true),
            _ => return Err(bad()),
        };
        // A label is written to a file and given to a mount as one option.
        let is_word = |byte: u8| {
            byte.is_ascii_alphanumeric()
                || b"_-.".contains(&byte)
                || (is_level && b":,".contains(&byte))
        };
        if !(1..=LONGEST).contains(&value.len()) || !value.bytes().all(is_word) {
            return Err(bad());
        }
        *field = Some(value.to_owned());
        Ok(())
    }

    /// To have no label is what happens to one that says nothing else.
    #[must_use]
    pub fn settled(self) -> Self {
        let rest = Self { disabled: false, ..self.clone() };
        if rest.is_default() { rest } else { self }
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A label: `system_u:system_r:container_t:s0:c1,c2`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label {
    /// `system_u`
    pub user: String,
    /// `system_r`
    pub role: String,
    /// `container_t`
    pub kind: String,
    /// `s0:c1,c2`; `None` of a policy without levels.
    pub level: Option<String>,
}

impl Label {
    /// Reads one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ':').map(str::to_owned);
        let (user, role, kind) = (parts.next()?, parts.next()?, parts.next()?);
        let is_whole = ![&user, &role, &kind].iter().any(|part| part.is_empty());
        is_whole.then(|| Self { user, role, kind, level: parts.next() })
    }
}

impl TryFrom<String> for Label {
    type Error = BadLabel;

    fn try_from(text: String) -> Result<Self, BadLabel> {
        Self::parse(&text).ok_or(BadLabel(text))
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.to_string()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.user, self.role, self.kind)?;
        self.level.iter().try_for_each(|level| write!(f, ":{level}"))
    }
}

/// The labels that a policy has for containers: its `lxc_contexts`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contexts {
    /// Of processes.
    pub process: Label,
    /// Of files that a container may write.
    pub file: Label,
}

impl Contexts {
    /// Reads the policy's file: lines of `name = "label"`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let value = |wanted: &str| {
            let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
            let mut pairs = lines.filter_map(|line| line.split_once('='));
            let (_, value) = pairs.find(|(name, _)| name.trim() == wanted)?;
            Label::parse(value.trim().trim_matches('"'))
        };
        Some(Self { process: value("process")?, file: value("file")? })
    }
}

/// Two categories that a container shares with no other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub struct Categories(u16, u16);

impl Categories {
    /// The pair with this number, of as many as there are; larger numbers begin anew.
    #[must_use]
    pub fn nth(number: u32) -> Self {
        let mut left = number % Self::count();
        let (mut first, mut row) = (0, u32::from(CATEGORIES) - 1);
        while left >= row {
            left -= row;
            row -= 1;
            first += 1;
        }
        // Smaller than the number of categories.
        let second = u16::try_from(left).unwrap_or_default() + first + 1;
        Self(first, second)
    }

    /// How many pairs there are.
    #[must_use]
    pub const fn count() -> u32 {
        CATEGORIES as u32 * (CATEGORIES as u32 - 1) / 2
    }
}

impl fmt::Display for Categories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{},c{}", self.0, self.1)
    }
}

/// The labels of a container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Labels {
    /// Of its processes; `None`: as whoever starts them.
    pub process: Option<Label>,
    /// Of the files that are its own.
    pub mount: Label,
}

impl Labels {
    /// As Docker makes them: the policy's, with the container's own categories, and over that what the
    /// user has said. User and level are those of its files as well. Who has named a level needs no
    /// categories.
    #[must_use]
    pub fn new(contexts: &Contexts, categories: Categories, wish: &LabelWish) -> Self {
        let own = |label: &Label| Label {
            level: label.level.as_ref().map(|level| {
                let sensitivity = level.split(':').next().unwrap_or(level);
                format!("{sensitivity}:{categories}")
            }),
            ..label.clone()
        };
        let (mut process, mut mount) = (own(&contexts.process), own(&contexts.file));
        if wish.disabled {
            mount.level.clone_from(&contexts.file.level);
            return Self { process: None, mount };
        }
        let set = |field: &mut String, said: &Option<String>| {
            field.clone_from(said.as_ref().unwrap_or(&field.clone()));
        };
        set(&mut process.user, &wish.user);
        set(&mut process.role, &wish.role);
        set(&mut process.kind, &wish.kind);
        set(&mut mount.user, &wish.user);
        set(&mut mount.kind, &wish.file_kind);
        if wish.level.is_some() {
            process.level.clone_from(&wish.level);
            mount.level.clone_from(&wish.level);
        }
        Self { process: Some(process), mount }
    }

    /// What files have that containers share (`:z`).
    #[must_use]
    pub fn shared(&self) -> Label {
        let level = self.mount.level.as_ref();
        let sensitivity = |level: &String| level.split(':').next().unwrap_or(level).to_owned();
        Label { level: level.map(sensitivity), ..self.mount.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> Contexts {
        Contexts::parse(
            "# containers\nprocess = \"system_u:system_r:container_t:s0\"\ncontent = \"x:y:z:s0\"\n\
             file = \"system_u:object_r:container_file_t:s0\"\nro_file=\"a:b:c:s0\"\n",
        )
        .unwrap()
    }

    fn made(options: &[&str]) -> String {
        let mut wish = LabelWish::default();
        options.iter().for_each(|option| wish.add(option).unwrap());
        let labels = Labels::new(&contexts(), Categories(4, 701), &wish);
        let process = labels.process.as_ref().map_or("-".to_owned(), Label::to_string);
        format!("{process} {} {}", labels.mount, labels.shared())
    }

    #[test]
    fn labels_are_the_policys_with_what_the_user_says() {
        for (options, wanted) in [
            (
                &[][..],
                "system_u:system_r:container_t:s0:c4,c701 system_u:object_r:container_file_t:s0:c4,c701 \
                 system_u:object_r:container_file_t:s0",
            ),
            (
                &["type:svirt_apache_t"],
                "system_u:system_r:svirt_apache_t:s0:c4,c701 \
                 system_u:object_r:container_file_t:s0:c4,c701 system_u:object_r:container_file_t:s0",
            ),
            (
                &["level:s0:c100,c200", "user:staff_u", "role:staff_r", "filetype:nfs_t"],
                "staff_u:staff_r:container_t:s0:c100,c200 staff_u:object_r:nfs_t:s0:c100,c200 \
                 staff_u:object_r:nfs_t:s0",
            ),
            (
                &["disable", "type:spc_t"],
                "- system_u:object_r:container_file_t:s0 system_u:object_r:container_file_t:s0",
            ),
        ] {
            assert_eq!(made(options), wanted, "{options:?}");
        }
    }

    #[test]
    fn only_who_says_something_of_a_label_asks_for_one() {
        let mut wish = LabelWish::default();
        wish.add("disable").unwrap();
        assert!(wish.clone().settled().is_default());
        wish.add("type:container_t").unwrap();
        assert_eq!(wish.clone().settled(), wish);
    }

    #[test]
    fn what_is_no_label_is_refused() {
        let mut wish = LabelWish::default();
        for bad in
            ["", "type", "type:", "kind:x", "type:a:b", "type:a\n", "level:s0 c1", "disable:x"]
        {
            assert_eq!(wish.add(bad), Err(BadLabel(bad.to_owned())));
        }
        let long = format!("type:{}", "x".repeat(256));
        assert!(wish.add(&long).is_err() && wish.is_default());
        assert!(Label::parse("a:b").is_none() && Label::parse("a::c:s0").is_none());
        assert_eq!(Contexts::parse("process = \"a:b:c:s0\""), None);
    }

    #[test]
    fn each_number_is_another_pair() {
        assert_eq!(Categories::nth(0), Categories(0, 1));
        assert_eq!(Categories::nth(1022), Categories(0, 1023));
        assert_eq!(Categories::nth(1023), Categories(1, 2));
        assert_eq!(Categories::nth(Categories::count() - 1), Categories(1022, 1023));
        assert_eq!(Categories::nth(Categories::count()), Categories(0, 1));
        let all: std::collections::BTreeSet<_> =
            (0..5000).map(|number| Categories::nth(number * 104)).collect();
        assert!(all.len() == 5000 && all.iter().all(|pair| pair.0 < pair.1));
    }

    #[test]
    fn labels_are_kept_as_text() {
        let labels = Labels::new(&contexts(), Categories(4, 701), &LabelWish::default());
        let text = serde_json::to_string(&labels).unwrap();
        assert_eq!(
            text,
            r#"{"process":"system_u:system_r:container_t:s0:c4,c701","mount":"system_u:object_r:container_file_t:s0:c4,c701"}"#
        );
        assert_eq!(serde_json::from_str::<Labels>(&text).unwrap(), labels);
        assert!(serde_json::from_str::<Label>("\"x\"").is_err());
    }
}
