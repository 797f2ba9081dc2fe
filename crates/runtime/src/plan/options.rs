//! The options of a mount, as fstab and OCI have them.
//!
//! Owns the words. Each one becomes an attribute, a propagation, a parameter of the file system, or
//! an error; none is dropped silently.

use sys::mount::{Attributes, Depth, MountAttrFlags, Propagation};

/// What a list of options says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// `bind` or `rbind`.
    pub(super) bind: Option<Depth>,
    /// Of the mount itself.
    pub(super) attributes: Attributes,
    /// Of it and all below it.
    pub(super) recursive: Attributes,
    /// How mounts reach it.
    pub(super) propagation: Option<(Propagation, Depth)>,
    /// `tmpcopyup`: fill a tmpfs with what it covers.
    pub(super) copy_up: bool,
    /// `copy-symlink`: a bind whose source is a link is that link.
    pub(super) copies_link: bool,
    /// `remount`: change what is mounted there.
    pub(super) is_remount: bool,
    /// `idmap` or `ridmap`: show other ids.
    pub(super) ids: Option<Depth>,
    /// For the file system: keys, and values where they have one.
    pub(super) params: Vec<(String, Option<String>)>,
}

/// What a word does to attributes.
#[derive(Clone, Copy)]
enum Effect {
    Set(MountAttrFlags),
    Clear(MountAttrFlags),
    /// One of the modes that exclude each other. Relative access times are no bit.
    AccessTime(MountAttrFlags),
}

/// Words about attributes; with an `r` in front they are about everything below as well.
const ATTRIBUTES: [(&str, Effect); 18] = [
    ("ro", Effect::Set(MountAttrFlags::MOUNT_ATTR_RDONLY)),
    ("rw", Effect::Clear(MountAttrFlags::MOUNT_ATTR_RDONLY)),
    ("nosuid", Effect::Set(MountAttrFlags::MOUNT_ATTR_NOSUID)),
    ("suid", Effect::Clear(MountAttrFlags::MOUNT_ATTR_NOSUID)),
    ("nodev", Effect::Set(MountAttrFlags::MOUNT_ATTR_NODEV)),
    ("dev", Effect::Clear(MountAttrFlags::MOUNT_ATTR_NODEV)),
    ("noexec", Effect::Set(MountAttrFlags::MOUNT_ATTR_NOEXEC)),
    ("exec", Effect::Clear(MountAttrFlags::MOUNT_ATTR_NOEXEC)),
    ("nosymfollow", Effect::Set(MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW)),
    ("symfollow", Effect::Clear(MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW)),
    ("nodiratime", Effect::Set(MountAttrFlags::MOUNT_ATTR_NODIRATIME)),
    ("diratime", Effect::Clear(MountAttrFlags::MOUNT_ATTR_NODIRATIME)),
    ("noatime", Effect::AccessTime(MountAttrFlags::MOUNT_ATTR_NOATIME)),
    ("strictatime", Effect::AccessTime(MountAttrFlags::MOUNT_ATTR_STRICTATIME)),
    ("atime", Effect::AccessTime(MountAttrFlags::empty())),
    ("relatime", Effect::AccessTime(MountAttrFlags::empty())),
    ("norelatime", Effect::AccessTime(MountAttrFlags::MOUNT_ATTR_STRICTATIME)),
    ("nostrictatime", Effect::AccessTime(MountAttrFlags::empty())),
];

const PROPAGATIONS: [(&str, Propagation); 4] = [
    ("private", Propagation::Private),
    ("slave", Propagation::Slave),
    ("shared", Propagation::Shared),
    ("unbindable", Propagation::Unbindable),
];

/// Words that belong to features that are not there.
const UNSUPPORTED: [&str; 2] = ["src-nofollow", "dest-nofollow"];

/// A bind whose source is a link becomes a link (crun's): what a source is has been looked at before there is a plan.
pub(crate) const COPY_LINK: &str = "copy-symlink";

/// Flags of file systems that every one of them takes.
const OF_FILE_SYSTEMS: [&str; 6] = ["async", "dirsync", "lazytime", "mand", "nolazytime", "sync"];

/// Words that say what is the case anyway, or that only mount(8) heeds.
const WITHOUT_EFFECT: [&str; 4] = ["defaults", "loud", "silent", "nomand"];

/// Every word that a mount may have, in order.
pub(crate) fn words() -> Vec<String> {
    let attributes =
        ATTRIBUTES.iter().flat_map(|(name, _)| [(*name).to_owned(), format!("r{name}")]);
    let propagations =
        PROPAGATIONS.iter().flat_map(|(name, _)| [(*name).to_owned(), format!("r{name}")]);
    let others =
        ["bind", COPY_LINK, "idmap", "rbind", "remount", "ridmap", "tmpcopyup"].into_iter();
    let others = others.chain(WITHOUT_EFFECT).chain(OF_FILE_SYSTEMS);
    let mut words: Vec<String> =
        attributes.chain(propagations).chain(others.map(str::to_owned)).collect();
    words.sort_unstable();
    words
}

impl Options {
    const NONE: Self = Self {
        bind: None,
        attributes: Attributes::NONE,
        recursive: Attributes::NONE,
        propagation: None,
        copy_up: false,
        copies_link: false,
        is_remount: false,
        ids: None,
        params: Vec::new(),
    };

    /// Reads a list. The error is the word that is not supported.
    pub(super) fn parse(words: &[String]) -> Result<Self, String> {
        let is_remount = words.iter().any(|word| word == "remount");
        let mut options = Self { is_remount, ..Self::NONE };
        for word in words {
            if word == COPY_LINK {
                options.copies_link = true;
                continue;
            }
            if UNSUPPORTED.contains(&word.as_str()) {
                return Err(word.clone());
            }
            options.take(word);
        }
        Ok(options)
    }

    fn take(&mut self, word: &str) {
        if let Some(effect) = attribute(word) {
            // What is there has to be told also what it shall not be.
            let apply = if self.is_remount { apply_to_all } else { apply_to_one };
            apply(&mut self.attributes, effect);
        } else if let Some((how, depth)) = propagation(word) {
            self.propagation = Some((how, depth));
        } else if let Some(effect) = word.strip_prefix('r').and_then(attribute) {
            apply_to_all(&mut self.recursive, effect);
        } else if !WITHOUT_EFFECT.contains(&word) {
            self.take_other(word);
        }
    }

    fn take_other(&mut self, word: &str) {
        match word {
            "bind" => self.bind = Some(Depth::Single),
            "rbind" => self.bind = Some(Depth::Recursive),
            "tmpcopyup" => self.copy_up = true,
            "remount" => {}
            "idmap" => self.ids = Some(Depth::Single),
            "ridmap" => self.ids = Some(Depth::Recursive),
            _ => {
                let (key, value) = match word.split_once('=') {
                    Some((key, value)) => (key, Some(value.to_owned())),
                    None => (word, None),
                };
                self.params.push((key.to_owned(), value));
            }
        }
    }
}

fn attribute(word: &str) -> Option<Effect> {
    ATTRIBUTES.iter().find(|(name, _)| *name == word).map(|(_, effect)| *effect)
}

/// The four, or what a leading `r` makes of them. Also for `linux.rootfsPropagation`.
pub(super) fn propagation(word: &str) -> Option<(Propagation, Depth)> {
    let find = |word: &str| PROPAGATIONS.iter().find(|(name, _)| *name == word).map(|(_, p)| *p);
    let one = find(word).map(|how| (how, Depth::Single));
    one.or_else(|| find(word.strip_prefix('r')?).map(|how| (how, Depth::Recursive)))
}

const ACCESS_TIME_MODES: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOATIME.union(MountAttrFlags::MOUNT_ATTR_STRICTATIME);

/// A plain `rw`, `suid`, `dev` or `exec` undoes a word before it. It does not lift what the source
/// of a bind has: a read-only disk of the host stays read-only in the container.
fn apply_to_one(attributes: &mut Attributes, effect: Effect) {
    match effect {
        Effect::Set(flag) => attributes.set |= flag,
        Effect::Clear(flag) => attributes.set -= flag,
        Effect::AccessTime(mode) => set_access_time(attributes, mode),
    }
}

/// Here the word is explicit enough to lift restrictions too.
fn apply_to_all(attributes: &mut Attributes, effect: Effect) {
    match effect {
        Effect::Set(flag) => {
            attributes.set |= flag;
            attributes.clear -= flag;
        }
        Effect::Clear(flag) => {
            attributes.set -= flag;
            attributes.clear |= flag;
        }
        Effect::AccessTime(mode) => set_access_time(attributes, mode),
    }
}

fn set_access_time(attributes: &mut Attributes, mode: MountAttrFlags) {
    attributes.set = (attributes.set - ACCESS_TIME_MODES) | mode;
    attributes.clear |= MountAttrFlags::MOUNT_ATTR__ATIME;
}

/// What the options of a bind say of its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// By name.
    pub(crate) set: MountAttrFlags,
    /// By name.
    pub(crate) lifted: MountAttrFlags,
    /// The mode of access times, if a word names one. Those that only take one back name none, as with mount(8).
    pub(crate) access: Option<MountAttrFlags>,
}

/// What the words ask of a bind's own attributes, and nothing if none of them is about those.
pub(crate) fn asked(words: &[String]) -> Option<Asked> {
    let none = MountAttrFlags::empty();
    let mut asked = Asked { set: none, lifted: none, access: None };
    let mut is_any = false;
    for word in words {
        let Some(effect) = attribute(word) else { continue };
        is_any = true;
        asked.take(word, effect);
    }
    is_any.then_some(asked)
}

/// Whether a word is about a mount's own attributes.
pub(crate) fn is_attribute(word: &str) -> bool {
    attribute(word).is_some()
}

impl Asked {
    fn take(&mut self, word: &str, effect: Effect) {
        let without_entries = MountAttrFlags::MOUNT_ATTR_NODIRATIME;
        let access = self.access.unwrap_or(MountAttrFlags::empty());
        match (word, effect) {
            ("nodiratime", _) => self.access = Some(access | without_entries),
            ("noatime" | "strictatime" | "relatime", Effect::AccessTime(mode)) => {
                self.access = Some((access & without_entries) | mode);
            }
            ("diratime", _) | (_, Effect::AccessTime(_)) => {}
            (_, Effect::Set(flag)) => {
                (self.set, self.lifted) = (self.set | flag, self.lifted - flag)
            }
            (_, Effect::Clear(flag)) => {
                (self.set, self.lifted) = (self.set - flag, self.lifted | flag)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::step::{attribute_names, propagation_name};

    fn check(words: &str, expect: Expect) {
        let words: Vec<String> = words.split(',').map(str::to_owned).collect();
        let text = match Options::parse(&words) {
            Err(word) => format!("unsupported: {word}"),
            Ok(options) => format!(
                "{:?} one[{}] all[{}] {:?} {:?}{}",
                options.bind,
                attribute_names(&options.attributes),
                attribute_names(&options.recursive),
                options.propagation.map(|(how, depth)| (propagation_name(how), depth)),
                options.params,
                if options.copy_up { " copy-up" } else { "" },
            ),
        };
        expect.assert_eq(&text);
    }

    #[test]
    fn a_bind_as_docker_writes_it() {
        check(
            "rbind,rprivate,rro",
            expect![[r#"Some(Recursive) one[] all[ro] Some(("private", Recursive)) []"#]],
        );
        check(
            "bind,slave,ro,nosuid",
            expect![[r#"Some(Single) one[ro,nosuid] all[] Some(("slave", Single)) []"#]],
        );
    }

    #[test]
    fn parameters_reach_the_file_system_and_flags_do_not() {
        check(
            "nosuid,strictatime,mode=755,size=65536k",
            expect![[
                r#"None one[nosuid,strictatime] all[] None [("mode", Some("755")), ("size", Some("65536k"))]"#
            ]],
        );
        check(
            "newinstance,ptmxmode=0666,defaults",
            expect![[
                r#"None one[] all[] None [("newinstance", None), ("ptmxmode", Some("0666"))]"#
            ]],
        );
        check("tmpcopyup,nodev", expect!["None one[nodev] all[] None [] copy-up"]);
    }

    #[test]
    fn the_last_word_wins_and_only_the_recursive_form_lifts() {
        check("ro,rw", expect!["None one[] all[] None []"]);
        check("noatime,relatime", expect!["None one[] all[] None []"]);
        check("rro,rrw,rsuid", expect!["None one[] all[-ro,-nosuid] None []"]);
    }

    #[test]
    fn a_bind_is_asked_for_its_own_attributes_alone() {
        let asked = |words: &str| {
            asked(&words.split(',').map(str::to_owned).collect::<Vec<_>>()).map(|asked| {
                let access = asked.access.map(|mode| Attributes { set: mode, ..Attributes::NONE });
                let named = Attributes { set: asked.set, clear: asked.lifted, propagation: None };
                let access = access.map(|access| attribute_names(&access));
                format!("{} {access:?}", attribute_names(&named))
            })
        };
        assert_eq!(asked("bind,rprivate,rro"), None);
        assert_eq!(asked("ro,rw,nodev").as_deref(), Some("nodev,-ro None"));
        assert_eq!(asked("atime").as_deref(), Some(" None"));
        assert_eq!(asked("noatime,diratime").as_deref(), Some(r#" Some("noatime")"#));
        let both = Some(r#" Some("strictatime,nodiratime")"#);
        assert_eq!(asked("nodiratime,strictatime").as_deref(), both);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        check("rbind,src-nofollow", expect!["unsupported: src-nofollow"]);
    }

    #[test]
    fn what_is_there_is_told_what_it_is_no_more() {
        check("remount,rw,nodev", expect!["None one[nodev,-ro] all[] None []"]);
        check(
            "remount,size=4k,ro,rw",
            expect![[r#"None one[-ro] all[] None [("size", Some("4k"))]"#]],
        );
    }
}
