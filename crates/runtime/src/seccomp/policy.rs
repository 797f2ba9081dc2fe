//! Which answer each system call gets: a profile with its conditions decided, for one architecture.
//!
//! Pure. The laws, which differ from libseccomp's only where its own are looser:
//!
//! - A rule holds if the container has every capability it includes and none it excludes, and so on
//!   for architecture and kernel, as in Docker.
//! - The checks of a rule must all hold. But if two of them look at the same argument, each is a rule
//!   of its own: that is how every runtime has read such profiles, and what they mean.
//! - Of all rules that match a call, the strictest action wins, in the order in which the kernel
//!   itself merges filters; of equally strict ones the first. (With libseccomp, a rule without
//!   checks hides every stricter rule with checks.)
//! - An argument is compared in the width in which the kernel reads it. What the kernel truncates is
//!   truncated before the comparison, so no bit that the kernel ignores can change the answer;
//!   what the kernel reads in full is compared in full, so no bit that it uses can hide from the
//!   filter. Comparing an argument that a call does not have is an error.
//! - A call that no rule names gets the default if it is as old as the newest call that the profile
//!   names, and `ENOSYS` if it is newer or unknown to us: programs then fall back instead of
//!   failing. Profiles that let unlisted calls through keep doing so for newer ones.
//! - x32 calls answer `ENOSYS` whatever the profile says.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, ENOSYS};
use super::profile::{Check, Condition, Op, Profile, Rule};
use super::syscalls::{Arch, Width, exists_anywhere};
use super::{CompileError, Target};

/// One comparison that is still open: neither always nor never true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) index: u8,
    pub(super) width: Width,
    pub(super) op: Op,
    pub(super) value: u64,
}

/// An answer, if all tests hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    pub(super) tests: Vec<Test>,
    pub(super) action: Action,
}

/// What a call gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Always(Action),
    /// The first clause that holds; else the last action.
    FirstOf(Vec<Clause>, Action),
}

/// All calls from `from` to the next range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: u32,
    pub(super) verdict: Verdict,
}

/// The verdict on every number, as ranges that cover all of them; neighbours differ.
pub(super) fn ranges(
    profile: &Profile,
    target: &Target,
    arch: Arch,
) -> Result<Vec<Range>, CompileError> {
    let named = named_calls(profile, target, arch)?;
    let newer = if profile.default.is_permissive() { profile.default } else { ENOSYS };
    let newest = newest_named(profile, arch);
    let known: BTreeSet<u32> = arch.table().iter().map(|(_, number)| *number).collect();
    let mut ranges = vec![Range { from: 0, verdict: Verdict::Always(newer) }];
    for &number in &known {
        let unlisted = if number <= newest { profile.default } else { newer };
        let verdict = named.get(&number).cloned().unwrap_or(Verdict::Always(unlisted));
        ranges.push(Range { from: number, verdict });
        ranges.push(Range { from: number + 1, verdict: Verdict::Always(newer) });
    }
    if let Some(from) = arch.alien_from() {
        ranges.push(Range { from, verdict: Verdict::Always(ENOSYS) });
    }
    Ok(merged(ranges))
}

/// Drops ranges without numbers, and joins neighbours of one verdict.
fn merged(ranges: Vec<Range>) -> Vec<Range> {
    let mut merged: Vec<Range> = Vec::new();
    for range in ranges {
        while merged.last().is_some_and(|last| last.from == range.from) {
            merged.pop();
        }
        if merged.last().is_none_or(|last| last.verdict != range.verdict) {
            merged.push(range);
        }
    }
    merged
}

/// The newest call that the profile knows, whether or not the rule that names it holds. A profile
/// that names none cannot be older than anything.
fn newest_named(profile: &Profile, arch: Arch) -> u32 {
    let names = profile.rules.iter().flat_map(|rule| &rule.names);
    names.filter_map(|name| arch.number(name)).max().unwrap_or(u32::MAX)
}

/// The calls that a rule which holds names.
fn named_calls(
    profile: &Profile,
    target: &Target,
    arch: Arch,
) -> Result<BTreeMap<u32, Verdict>, CompileError> {
    let mut clauses: BTreeMap<u32, Vec<Clause>> = BTreeMap::new();
    for rule in profile.rules.iter().filter(|rule| holds(rule, target)) {
        for name in &rule.names {
            if let Some(number) = arch.number(name) {
                clauses.entry(number).or_default().extend(clauses_of(rule, name, arch)?);
            }
        }
    }
    Ok(clauses
        .into_iter()
        .map(|(number, clauses)| (number, verdict(clauses, profile.default)))
        .collect())
}

/// Names that no architecture has, each once.
pub(super) fn unknown_names(profile: &Profile) -> Vec<String> {
    let names = profile.rules.iter().flat_map(|rule| &rule.names);
    let unknown: BTreeSet<&String> = names.filter(|name| !exists_anywhere(name)).collect();
    unknown.into_iter().cloned().collect()
}

fn holds(rule: &Rule, target: &Target) -> bool {
    let Condition { caps, arches, min_kernel } = &rule.includes;
    let is_here = |arch: &String| arch == target.arch.go_name();
    let included = target.caps.contains_all(*caps)
        && (arches.is_empty() || arches.iter().any(is_here))
        && min_kernel.is_none_or(|least| target.kernel >= least);
    let Condition { caps, arches, min_kernel } = &rule.excludes;
    let excluded = !target.caps.intersection(*caps).is_empty()
        || arches.iter().any(is_here)
        || min_kernel.is_some_and(|least| target.kernel >= least);
    included && !excluded
}

/// The clauses of one rule for one call: none if its checks can never hold.
fn clauses_of(rule: &Rule, name: &str, arch: Arch) -> Result<Vec<Clause>, CompileError> {
    let mut groups: Vec<&[Check]> = vec![&rule.checks];
    let repeated = rule.checks.iter().enumerate().any(|(place, check)| {
        rule.checks[..place].iter().any(|earlier| earlier.index == check.index)
    });
    if repeated {
        groups = rule.checks.chunks(1).collect();
    }
    let mut clauses = Vec::new();
    for group in groups {
        if let Some(tests) = tests_of(group, name, arch)? {
            clauses.push(Clause { tests, action: rule.action });
        }
    }
    Ok(clauses)
}

/// What is left to be tested, or `None` if a check can never hold.
fn tests_of(checks: &[Check], name: &str, arch: Arch) -> Result<Option<Vec<Test>>, CompileError> {
    let mut tests = Vec::new();
    for check in checks {
        let width = arch.width(name, check.index).ok_or_else(|| CompileError::NoSuchArgument {
            call: name.to_owned(),
            index: check.index,
        })?;
        match narrowed(*check, width) {
            Narrowed::Always => {}
            Narrowed::Never => return Ok(None),
            Narrowed::Test(test) => tests.push(test),
        }
    }
    Ok(Some(tests))
}

/// A check against what an argument of this width can be.
enum Narrowed {
    Always,
    Never,
    Test(Test),
}

/// Brings the check's value into the argument's width. A value with all higher bits set is the
/// sign-extended form of a negative number (`-1` for an int) and means its low bits; any other value
/// beyond the width is beyond what the argument can be.
fn narrowed(check: Check, width: Width) -> Narrowed {
    let Check { index, op, value } = check;
    let all = width.mask();
    let fit = |value: u64| {
        let sign_extended = value & !(all >> 1) == !(all >> 1);
        if sign_extended { value & all } else { value }
    };
    let test = |op, value| Narrowed::Test(Test { index, width, op, value });
    if let Op::MaskedEq { mask } = op {
        // Bits that the kernel does not read cannot be asked for; where they are masked, they are 0.
        let value = fit(value);
        return if value > all {
            Narrowed::Never
        } else {
            test(Op::MaskedEq { mask: mask & all }, value)
        };
    }
    let value = fit(value);
    match op {
        _ if value <= all => test(op, value),
        Op::Eq | Op::Gt | Op::Ge => Narrowed::Never,
        Op::Ne | Op::Lt | Op::Le => Narrowed::Always,
        Op::MaskedEq { .. } => Narrowed::Never,
    }
}

/// Strictest first; nothing can come after a clause without tests.
fn verdict(mut clauses: Vec<Clause>, default: Action) -> Verdict {
    clauses.sort_by_key(|clause| clause.action.rank());
    let unconditional = clauses.iter().position(|clause| clause.tests.is_empty());
    let last = unconditional.map_or(default, |place| clauses[place].action);
    clauses.truncate(unconditional.unwrap_or(clauses.len()));
    clauses.dedup();
    if clauses.is_empty() { Verdict::Always(last) } else { Verdict::FirstOf(clauses, last) }
}
