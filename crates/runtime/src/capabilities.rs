//! Sets of capabilities: bits, Docker's default set, and what `--cap-add` and `--cap-drop` do.
//!
//! Deciding only. Nothing here asks the kernel what it has or sets anything; the caller passes the
//! set that can be granted at all.

use std::fmt;

pub use model::capability::{Capability, UnknownCapability};

/// A set of capabilities, as the kernel's bit mask.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CapSet(u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: Self = Self(0);

    /// The 14 that Docker gives: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP,
    /// NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP.
    pub const DOCKER_DEFAULT: Self = Self(0xa804_25fb);

    /// The 9 of `--hardened`: Docker's without NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP.
    pub const HARDENED: Self = Self(0x0000_05fb);

    /// A set from the kernel's bit mask (`CapBnd` in `/proc/self/status`).
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The kernel's bit mask.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Every capability up to the last that a kernel has (`/proc/sys/kernel/cap_last_cap`) and that
    /// has a name here.
    #[must_use]
    pub fn up_to(last: u8) -> Self {
        Capability::every().filter(|capability| capability.number() <= last).collect()
    }

    /// Whether `capability` is in the set.
    #[must_use]
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.number()) != 0
    }

    /// Whether every capability of `other` is in this set.
    #[must_use]
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets have.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set has nothing.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The named capabilities of the set, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::every().filter(move |capability| self.contains(*capability))
    }

    /// The names, as an OCI specification lists them.
    #[must_use]
    pub fn names(self) -> Vec<String> {
        self.iter().map(|capability| capability.to_string()).collect()
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<T: IntoIterator<Item = Capability>>(capabilities: T) -> Self {
        capabilities
            .into_iter()
            .fold(Self::EMPTY, |set, capability| Self(set.0 | 1 << capability.number()))
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|capability| capability.to_string())).finish()
    }
}

/// What a list of `--cap-add` or `--cap-drop` values names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Named {
    /// `ALL` was among them.
    pub all: bool,
    /// The others.
    pub set: CapSet,
}

impl Named {
    /// Reads the values of one option: `ALL`, or names in any case with or without `CAP_`.
    pub fn parse<T: AsRef<str>>(values: &[T]) -> Result<Self, UnknownCapability> {
        let mut named = Self::default();
        for value in values {
            if value.as_ref().eq_ignore_ascii_case("ALL") {
                named.all = true;
                continue;
            }
            let capability = Capability::parse_loosely(value.as_ref())?;
            named.set = named.set.union(CapSet::from_iter([capability]));
        }
        Ok(named)
    }
}

/// A capability was asked for that cannot be granted here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "capability not supported by the kernel or not available in this environment: {}",
    .0.names().join(", ")
)]
pub struct Unavailable(pub CapSet);

/// The capabilities of a container that starts from `base` (Docker's rules).
///
/// `add ALL` gives all that are available but those dropped by name; else `drop ALL` leaves just
/// those added by name; else what is dropped goes first and what is added comes after it, so that a
/// name in both lists is granted.
pub fn tweak(
    base: CapSet,
    add: Named,
    drop: Named,
    available: CapSet,
) -> Result<CapSet, Unavailable> {
    let missing = add.set.without(available);
    if !missing.is_empty() {
        return Err(Unavailable(missing));
    }
    let granted = if add.all {
        available.without(drop.set)
    } else if drop.all {
        add.set
    } else {
        base.without(drop.set).union(add.set)
    };
    Ok(granted.intersection(available))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tweaked(add: &[&str], drop: &[&str]) -> String {
        let add = Named::parse(add).unwrap();
        let drop = Named::parse(drop).unwrap();
        let granted = tweak(CapSet::DOCKER_DEFAULT, add, drop, CapSet::up_to(40)).unwrap();
        let base = CapSet::DOCKER_DEFAULT;
        format!("+{:?} -{:?}", granted.without(base), base.without(granted))
    }

    #[test]
    fn dockers_default_has_its_fourteen_names() {
        assert_eq!(
            CapSet::DOCKER_DEFAULT.names().join(" "),
            "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID \
             CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SYS_CHROOT CAP_MKNOD \
             CAP_AUDIT_WRITE CAP_SETFCAP"
        );
    }

    #[test]
    fn hardened_is_nine_of_them() {
        assert_eq!(CapSet::HARDENED.iter().count(), 9);
        assert!(CapSet::DOCKER_DEFAULT.contains_all(CapSet::HARDENED));
    }

    #[test]
    fn an_unknown_name_is_named() {
        let error = Named::parse(&["NET_ADMIN", "FLY"]).unwrap_err();
        assert_eq!(error.to_string(), r#"unknown capability: "FLY""#);
        assert!(Named::parse(&[""]).is_err());
        assert!(Named::parse(&["CAP_ALL"]).is_err());
    }

    #[test]
    fn add_and_drop_follow_docker() {
        assert_eq!(tweaked(&[], &[]), "+{} -{}");
        assert_eq!(tweaked(&["net_admin"], &["MKNOD"]), r#"+{"CAP_NET_ADMIN"} -{"CAP_MKNOD"}"#);
        // A name in both lists is granted.
        assert_eq!(tweaked(&["MKNOD"], &["MKNOD"]), "+{} -{}");
        assert_eq!(
            tweak(
                CapSet::DOCKER_DEFAULT,
                Named::parse(&["CHOWN"]).unwrap(),
                Named::parse(&["all"]).unwrap(),
                CapSet::up_to(40)
            )
            .unwrap()
            .names(),
            ["CAP_CHOWN"]
        );
        let all = Named::parse(&["ALL"]).unwrap();
        let drop = Named::parse(&["SYS_ADMIN"]).unwrap();
        let granted = tweak(CapSet::EMPTY, all, drop, CapSet::up_to(40)).unwrap();
        assert_eq!(granted.iter().count(), 40);
        assert!(!granted.contains(Capability::parse_loosely("SYS_ADMIN").unwrap()));
        // With ALL in both, only names can take something away.
        assert_eq!(tweak(CapSet::EMPTY, all, all, CapSet::up_to(40)).unwrap(), CapSet::up_to(40));
    }

    #[test]
    fn what_the_host_lacks_is_an_error_when_asked_for_and_left_out_otherwise() {
        let available = CapSet::up_to(40)
            .without(CapSet::from_iter([Capability::parse_loosely("SYS_RESOURCE").unwrap()]));
        let asked = Named::parse(&["SYS_RESOURCE"]).unwrap();
        let none = Named::default();
        let error = tweak(CapSet::DOCKER_DEFAULT, asked, none, available).unwrap_err();
        assert!(error.to_string().ends_with("CAP_SYS_RESOURCE"));
        let all = Named::parse(&["ALL"]).unwrap();
        assert_eq!(tweak(CapSet::DOCKER_DEFAULT, all, none, available).unwrap(), available);
    }
}
