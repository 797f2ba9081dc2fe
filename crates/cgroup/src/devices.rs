//! Which devices a cgroup may use: rules, and what becomes of them on v1 and v2.
//!
//! Deciding only. The law: rules hold in their order, a later one overrides an earlier one for the
//! devices and the kinds of access that it names, and what no rule names is denied.

mod program;

pub(crate) use program::program;

use std::fmt;

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Grants.
    Allow,
    /// Refuses.
    Deny,
}

/// Kinds of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// Both.
    All,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// A set of kinds of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access(u8);

impl Access {
    /// `mknod`.
    pub const MKNOD: Self = Self(1);
    /// Reading.
    pub const READ: Self = Self(2);
    /// Writing.
    pub const WRITE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    const LETTERS: [(char, Self); 3] = [('r', Self::READ), ('w', Self::WRITE), ('m', Self::MKNOD)];

    /// Reads letters of `rwm`, as OCI and `--device` have them; nothing means nothing.
    pub fn parse(letters: &str) -> Result<Self, BadAccess> {
        letters.chars().try_fold(Self(0), |set, letter| {
            let found = Self::LETTERS.iter().find(|(known, _)| *known == letter);
            let (_, bit) = found.ok_or_else(|| BadAccess(letters.to_owned()))?;
            Ok(Self(set.0 | bit.0))
        })
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = Self::LETTERS.iter().filter(|(_, bit)| self.intersects(*bit));
        letters.map(|(letter, _)| letter).collect::<String>().fmt(f)
    }
}

/// An access string has another letter than `r`, `w` and `m`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device access {0:?} is not made of r, w and m")]
pub struct BadAccess(pub String);

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// What it does.
    pub effect: Effect,
    /// Which devices.
    pub kind: DeviceKind,
    /// Of which driver, or of all.
    pub major: Option<u32>,
    /// Which device of a driver, or all.
    pub minor: Option<u32>,
    /// Which access.
    pub access: Access,
}

impl DeviceRule {
    /// One effect for everything.
    #[must_use]
    pub const fn everything(effect: Effect) -> Self {
        Self { effect, kind: DeviceKind::All, major: None, minor: None, access: Access::ALL }
    }

    fn is_everything(&self) -> bool {
        *self == Self::everything(self.effect)
    }

    fn covers_devices_of(&self, other: &Self) -> bool {
        let covers = |ours: Option<u32>, theirs| ours.is_none() || ours == theirs;
        (self.kind == DeviceKind::All || self.kind == other.kind)
            && covers(self.major, other.major)
            && covers(self.minor, other.minor)
    }

    fn shares_devices_with(&self, other: &Self) -> bool {
        let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        let all = |kind| kind == DeviceKind::All;
        (all(self.kind) || all(other.kind) || self.kind == other.kind)
            && meet(self.major, other.major)
            && meet(self.minor, other.minor)
    }
}

/// The v1 form, without the effect: `c 1:3 rwm`.
impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::All => "a",
            DeviceKind::Char => "c",
            DeviceKind::Block => "b",
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |n| n.to_string());
        write!(f, "{kind} {}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

/// The rules of a cgroup, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceRules(Vec<DeviceRule>);

impl DeviceRules {
    /// Takes the rules; without any, every device is denied.
    #[must_use]
    pub fn new(rules: Vec<DeviceRule>) -> Self {
        Self(rules)
    }

    /// Every device, as for a privileged container; nothing is set up then.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self(vec![DeviceRule::everything(Effect::Allow)])
    }

    /// What holds where no rule of the rest does, and the rest, with the kinds told apart.
    fn split(&self) -> (Effect, Vec<DeviceRule>) {
        let last = self.0.iter().rposition(DeviceRule::is_everything);
        let base = last.map_or(Effect::Deny, |place| self.0[place].effect);
        let rest = &self.0[last.map_or(0, |place| place + 1)..];
        let kinds = |rule: &DeviceRule| match rule.kind {
            DeviceKind::All => vec![DeviceKind::Char, DeviceKind::Block],
            kind @ (DeviceKind::Char | DeviceKind::Block) => vec![kind],
        };
        let apart = |rule: &DeviceRule| {
            let rule = *rule;
            kinds(&rule).into_iter().map(move |kind| DeviceRule { kind, ..rule })
        };
        (base, rest.iter().flat_map(apart).filter(|rule| rule.access != Access(0)).collect())
    }

    pub(crate) fn is_unrestricted(&self) -> bool {
        let (base, rest) = self.split();
        base == Effect::Allow && rest.iter().all(|rule| rule.effect == Effect::Allow)
    }
}

/// A rule cuts a hole into a wider one, which v1's lists cannot say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cgroup v1 cannot except the devices {part} from {whole}")]
pub struct NotExpressible {
    /// The narrower rule.
    pub part: String,
    /// The wider rule.
    pub whole: String,
}

/// The writes to `devices.deny` and `devices.allow` that turn a new cgroup's list into the rules.
///
/// The kernel has a default and a list of exceptions from it. It takes an exception back only if its
/// numbers are given exactly, and silently does nothing else; so the list is worked out here, and only
/// what stays of it is written. And it takes `a` to mean everything, whatever numbers and access come
/// with it: a rule about both kinds is two rules.
pub(crate) fn v1_writes(
    rules: &DeviceRules,
) -> Result<Vec<(&'static str, String)>, NotExpressible> {
    let (base, exceptions) = exceptions(rules)?;
    let (default, exception) = match base {
        Effect::Deny => ("devices.deny", "devices.allow"),
        Effect::Allow => ("devices.allow", "devices.deny"),
    };
    // A new cgroup has its parent's list; ours has none, and that allows everything already.
    let default = (base == Effect::Deny).then(|| (default, "a".to_owned()));
    let exceptions = exceptions.iter().map(|rule| (exception, rule.to_string()));
    Ok(default.into_iter().chain(exceptions).collect())
}

/// What holds for all devices, and which are exceptions from it.
pub(crate) fn exceptions(rules: &DeviceRules) -> Result<(Effect, Vec<DeviceRule>), NotExpressible> {
    let (base, rest) = rules.split();
    let mut exceptions: Vec<DeviceRule> = Vec::new();
    for rule in rest {
        if rule.effect == base {
            take_back(&mut exceptions, &rule)?;
        } else {
            exceptions.push(rule);
        }
    }
    Ok((base, exceptions))
}

fn take_back(exceptions: &mut Vec<DeviceRule>, rule: &DeviceRule) -> Result<(), NotExpressible> {
    for exception in exceptions.iter_mut() {
        if !rule.shares_devices_with(exception) || !rule.access.intersects(exception.access) {
            continue;
        }
        if !rule.covers_devices_of(exception) {
            return Err(NotExpressible { part: rule.to_string(), whole: exception.to_string() });
        }
        exception.access = exception.access.without(rule.access);
    }
    exceptions.retain(|exception| exception.access != Access(0));
    Ok(())
}

#[cfg(test)]
mod tests;
