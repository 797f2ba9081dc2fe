//! A seccomp profile with everything in it understood, or refused.
//!
//! Owns the meaning of a profile's parts that depends on neither the host nor the container; which
//! rules hold for a container is `policy`'s.

use std::fmt;
use std::str::FromStr;

use sys::seccomp::Flags;

use super::action::{Action, MAX_ERRNO};
use super::document::{
    ARCHES, ActionName, ArchName, ArgDocument, ConditionDocument, Document, FlagName, Object,
    OpName, RuleDocument,
};
use super::syscalls::Arch;
use crate::capabilities::{CapSet, Capability};

/// Longest profile that is read. Docker's own has 13 KB.
pub const MAX_PROFILE: usize = 1 << 20;

/// Docker's profile, as published in the repository moby/profiles.
pub const DEFAULT: &[u8] = include_bytes!("../../data/seccomp.json");

/// Why a text is not a profile. Nothing runs with one that does not parse.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// More than [`MAX_PROFILE`] bytes.
    #[error("seccomp profile: {0} bytes, more than {MAX_PROFILE}")]
    TooLong(usize),
    /// Not JSON, not a profile, or a name in it that no profile has.
    #[error("seccomp profile: {0}")]
    Json(#[from] serde_json::Error),
    /// Another JSON object, such as `{}`.
    #[error("seccomp profile: missing field `{0}`")]
    Missing(&'static str),
    /// Something at the top level.
    #[error("seccomp profile: {0}")]
    Top(Problem),
    /// Something in one rule.
    #[error("seccomp profile: rule {number} ({first}): {problem}")]
    Rule {
        /// Its place in `syscalls`, from 1.
        number: usize,
        /// The first call that it names.
        first: String,
        /// What is wrong.
        problem: Problem,
    },
}

/// What is wrong with a part of a profile.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Docker refuses both as well.
    #[error("both `architectures` and `archMap` are given")]
    TwoArchLists,
    /// The default, or a rule, notifies, and nobody listens.
    #[error("SCMP_ACT_NOTIFY needs `listenerPath`")]
    NoListener,
    /// An errno on an action that returns none.
    #[error("an errno can be given with SCMP_ACT_ERRNO and SCMP_ACT_TRACE only")]
    NeedlessErrno,
    /// The kernel would cap it.
    #[error("errno {0} is more than {MAX_ERRNO}")]
    Errno(u32),
    /// `name` and `names`, or neither.
    #[error("missing field `names`")]
    NoNames,
    /// Both spellings.
    #[error("both `name` and `names` are given")]
    TwoNames,
    /// System calls have six arguments.
    #[error("argument {0} does not exist, the last is 5")]
    ArgIndex(u8),
    /// A second value where there is nothing to do with it.
    #[error("`valueTwo` is for SCMP_CMP_MASKED_EQ only")]
    NeedlessValueTwo,
    /// `value` is the mask and `valueTwo` what must be left.
    #[error("argument & {mask:#x} can never be {value:#x}")]
    NeverEqual {
        /// The mask.
        mask: u64,
        /// What the masked argument should be.
        value: u64,
    },
    /// A condition names a capability that does not exist.
    #[error("unknown capability {0:?}")]
    Capability(String),
    /// A condition names an architecture that does not exist.
    #[error("unknown architecture {0:?}")]
    Arch(String),
    /// Not `4.8`.
    #[error("{0:?} is not a kernel version")]
    Kernel(String),
}

/// The first two numbers of a kernel's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// 6 of 6.18.
    pub major: u16,
    /// 18 of 6.18.
    pub minor: u16,
}

impl KernelVersion {
    /// Reads the release that `uname` gives, such as `6.1.0-13-amd64`.
    #[must_use]
    pub fn from_release(release: &str) -> Option<Self> {
        let mut parts = release.split(|c: char| !c.is_ascii_digit());
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        Some(Self { major, minor })
    }
}

impl FromStr for KernelVersion {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let digits =
            |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok());
        text.split_once('.')
            .and_then(|(major, minor)| {
                Some(Self { major: digits(major)??, minor: digits(minor)?? })
            })
            .ok_or_else(|| Problem::Kernel(text.to_owned()))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Who decides about the calls of `SCMP_ACT_NOTIFY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The Unix socket that gets the descriptor.
    pub path: String,
    /// What the listener is told along with it.
    pub metadata: String,
}

/// A profile that was understood in full.
#[derive(Debug, Clone)]
pub struct Profile {
    pub(super) default: Action,
    pub(super) foreign: Vec<(Arch, Arch)>,
    pub(super) flags: Flags,
    pub(super) listener: Option<Listener>,
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) names: Vec<String>,
    pub(super) action: Action,
    pub(super) checks: Vec<Check>,
    pub(super) includes: Condition,
    pub(super) excludes: Condition,
}

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) index: u8,
    pub(super) op: Op,
    pub(super) value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Op {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    MaskedEq { mask: u64 },
}

#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    pub(super) caps: CapSet,
    pub(super) arches: Vec<String>,
    pub(super) min_kernel: Option<KernelVersion>,
}

impl Profile {
    /// Reads Docker's shape or OCI's. Any field, action, operator, flag, architecture or capability
    /// that is not known is an error; names of system calls are looked up when it is compiled.
    pub fn parse(json: &[u8]) -> Result<Self, ParseError> {
        if json.len() > MAX_PROFILE {
            return Err(ParseError::TooLong(json.len()));
        }
        let Object(document) =
            serde_json::from_slice(json).map_err(|error| not_read(json, error))?;
        Self::from_document(document)
    }

    fn from_document(document: Document) -> Result<Self, ParseError> {
        let default =
            action(document.default_action, document.default_errno_ret).map_err(ParseError::Top)?;
        let foreign = match (document.architectures, document.arch_map) {
            (Some(listed), Some(map)) if !listed.is_empty() && !map.is_empty() => {
                return Err(ParseError::Top(Problem::TwoArchLists));
            }
            (Some(listed), _) if !listed.is_empty() => foreign_of_list(&listed),
            (_, map) => map
                .iter()
                .flatten()
                .flat_map(|Object(entry)| {
                    let subs = entry.sub_architectures.as_deref().unwrap_or_default();
                    subs.iter().filter_map(|sub| foreign_pair(entry.architecture, *sub))
                })
                .collect(),
        };
        let mut rules = Vec::new();
        for (place, Object(rule)) in document.syscalls.unwrap_or_default().into_iter().enumerate() {
            let named = rule.names.iter().flatten().chain(&rule.name).next();
            let first = named.cloned().unwrap_or_default();
            rules.push(Rule::from_document(rule).map_err(|problem| ParseError::Rule {
                number: place + 1,
                first,
                problem,
            })?);
        }
        let listener = document.listener_path.filter(|path| !path.is_empty()).map(|path| {
            Listener { path, metadata: document.listener_metadata.unwrap_or_default() }
        });
        let notifies =
            default == Action::Notify || rules.iter().any(|rule| rule.action == Action::Notify);
        if notifies && listener.is_none() {
            return Err(ParseError::Top(Problem::NoListener));
        }
        Ok(Self { default, foreign, flags: flags(document.flags.as_deref()), listener, rules })
    }
}

/// An object without a default action is none of ours: that says more than which of its fields is
/// the first to be unknown.
fn not_read(json: &[u8], error: serde_json::Error) -> ParseError {
    const FIRST: &str = "defaultAction";
    let value: Option<serde_json::Value> = serde_json::from_slice(json).ok();
    match value.as_ref().and_then(serde_json::Value::as_object) {
        Some(object) if !object.contains_key(FIRST) => ParseError::Missing(FIRST),
        _ => ParseError::Json(error),
    }
}

/// Without a list, speculation stays as it is, which is what every runtime's default became when
/// the mitigation was found to cost more than it gave. A list, even an empty one, is followed.
fn flags(listed: Option<&[FlagName]>) -> Flags {
    let Some(listed) = listed else { return Flags::SPEC_ALLOW };
    listed.iter().fold(Flags::default(), |flags, flag| {
        flags.union(match flag {
            FlagName::Tsync => Flags::TSYNC,
            FlagName::Log => Flags::LOG,
            FlagName::SpecAllow => Flags::SPEC_ALLOW,
            FlagName::WaitKillableRecv => Flags::WAIT_KILLABLE_RECV,
        })
    })
}

fn foreign_pair(native: ArchName, foreign: ArchName) -> Option<(Arch, Arch)> {
    match (native, foreign) {
        (ArchName::X8664, ArchName::X86) => Some((Arch::X86_64, Arch::I386)),
        (ArchName::Aarch64, ArchName::Arm) => Some((Arch::Aarch64, Arch::Arm)),
        _ => None,
    }
}

fn foreign_of_list(listed: &[ArchName]) -> Vec<(Arch, Arch)> {
    let pairs = [(ArchName::X8664, ArchName::X86), (ArchName::Aarch64, ArchName::Arm)];
    pairs
        .into_iter()
        .filter(|(_, foreign)| listed.contains(foreign))
        .filter_map(|(native, foreign)| foreign_pair(native, foreign))
        .collect()
}

/// EPERM, unless the profile says another: what libseccomp's users always got.
const DEFAULT_ERRNO: u16 = 1;

fn action(name: ActionName, errno: Option<u32>) -> Result<Action, Problem> {
    let limited = |max: u16| match errno {
        None => Ok(DEFAULT_ERRNO),
        Some(errno) => {
            u16::try_from(errno).ok().filter(|errno| *errno <= max).ok_or(Problem::Errno(errno))
        }
    };
    let plain = |action| if errno.is_some() { Err(Problem::NeedlessErrno) } else { Ok(action) };
    match name {
        ActionName::Errno => limited(MAX_ERRNO).map(Action::Errno),
        ActionName::Trace => limited(u16::MAX).map(Action::Trace),
        ActionName::Kill | ActionName::KillThread => plain(Action::KillThread),
        ActionName::KillProcess => plain(Action::KillProcess),
        ActionName::Trap => plain(Action::Trap),
        ActionName::Allow => plain(Action::Allow),
        ActionName::Log => plain(Action::Log),
        ActionName::Notify => plain(Action::Notify),
    }
}

impl Rule {
    fn from_document(rule: RuleDocument) -> Result<Self, Problem> {
        let names = match (rule.names, rule.name.filter(|name| !name.is_empty())) {
            (Some(names), Some(_)) if !names.is_empty() => return Err(Problem::TwoNames),
            (Some(names), None) if !names.is_empty() => names,
            (_, Some(name)) => vec![name],
            (_, None) => return Err(Problem::NoNames),
        };
        let checks =
            rule.args.unwrap_or_default().into_iter().map(|Object(arg)| Check::from_document(arg));
        Ok(Self {
            names,
            action: action(rule.action, rule.errno_ret)?,
            checks: checks.collect::<Result<_, _>>()?,
            includes: Condition::from_document(rule.includes)?,
            excludes: Condition::from_document(rule.excludes)?,
        })
    }
}

impl Check {
    fn from_document(arg: ArgDocument) -> Result<Self, Problem> {
        let ArgDocument { index, value, value_two, op } = arg;
        if index > 5 {
            return Err(Problem::ArgIndex(index));
        }
        let (op, value) = match op {
            OpName::MaskedEq => (Op::MaskedEq { mask: value }, value_two.unwrap_or(0)),
            _ if value_two.is_some_and(|two| two != 0) => return Err(Problem::NeedlessValueTwo),
            OpName::Ne => (Op::Ne, value),
            OpName::Lt => (Op::Lt, value),
            OpName::Le => (Op::Le, value),
            OpName::Eq => (Op::Eq, value),
            OpName::Ge => (Op::Ge, value),
            OpName::Gt => (Op::Gt, value),
        };
        if let Op::MaskedEq { mask } = op
            && value & !mask != 0
        {
            return Err(Problem::NeverEqual { mask, value });
        }
        Ok(Self { index, op, value })
    }
}

impl Condition {
    fn from_document(condition: Option<Object<ConditionDocument>>) -> Result<Self, Problem> {
        let Some(Object(condition)) = condition else { return Ok(Self::default()) };
        let caps = condition.caps.unwrap_or_default().into_iter().map(|name| {
            name.parse::<Capability>().map_err(|unknown| Problem::Capability(unknown.0))
        });
        let arches = condition.arches.unwrap_or_default();
        if let Some(unknown) = arches.iter().find(|arch| !ARCHES.contains(&arch.as_str())) {
            return Err(Problem::Arch(unknown.clone()));
        }
        Ok(Self {
            caps: caps.collect::<Result<_, _>>()?,
            arches,
            min_kernel: condition.min_kernel.as_deref().map(str::parse).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(json: &str, expected: &Expect) {
        expected.assert_eq(&Profile::parse(json.as_bytes()).unwrap_err().to_string());
    }

    #[test]
    fn dockers_own_profile_is_understood() {
        let profile = Profile::parse(DEFAULT).unwrap();
        assert_eq!(profile.default, Action::Errno(1));
        assert_eq!(profile.foreign, [(Arch::X86_64, Arch::I386), (Arch::Aarch64, Arch::Arm)]);
    }

    #[test]
    fn what_is_not_a_profile_is_refused_by_the_name_of_what_is_missing() {
        let texts = [
            "{}",
            r#"{"name":"debian","version":"12"}"#,
            "",
            "null",
            "[]",
            // The values of all fields, in order: a profile to a derived `Deserialize`.
            r#"["SCMP_ACT_ALLOW",null,null,null,null,null,null,null]"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW"} {}"#,
        ];
        let errors = texts.map(|text| Profile::parse(text.as_bytes()).unwrap_err().to_string());
        expect![[r#"
            seccomp profile: missing field `defaultAction`
            seccomp profile: missing field `defaultAction`
            seccomp profile: EOF while parsing a value at line 1 column 0
            seccomp profile: invalid type: null, expected an object at line 1 column 4
            seccomp profile: invalid type: sequence, expected an object at line 1 column 0
            seccomp profile: invalid type: sequence, expected an object at line 1 column 0
            seccomp profile: trailing characters at line 1 column 36"#]]
        .assert_eq(&errors.join("\n"));
    }

    #[test]
    fn unknown_names_are_refused() {
        check(
            r#"{"defaultAction":"SCMP_ACT_NOPE"}"#,
            &expect![
                "seccomp profile: unknown variant `SCMP_ACT_NOPE`, expected one of `SCMP_ACT_KILL`, `SCMP_ACT_KILL_THREAD`, `SCMP_ACT_KILL_PROCESS`, `SCMP_ACT_TRAP`, `SCMP_ACT_ERRNO`, `SCMP_ACT_TRACE`, `SCMP_ACT_ALLOW`, `SCMP_ACT_LOG`, `SCMP_ACT_NOTIFY` at line 1 column 32"
            ],
        );
        check(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","sycalls":[]}"#,
            &expect![
                "seccomp profile: unknown field `sycalls`, expected one of `defaultAction`, `defaultErrnoRet`, `architectures`, `archMap`, `flags`, `listenerPath`, `listenerMetadata`, `syscalls` at line 1 column 43"
            ],
        );
        check(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["FAST"]}"#,
            &expect![
                "seccomp profile: unknown variant `FAST`, expected one of `SECCOMP_FILTER_FLAG_TSYNC`, `SECCOMP_FILTER_FLAG_LOG`, `SECCOMP_FILTER_FLAG_SPEC_ALLOW`, `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` at line 1 column 49"
            ],
        );
        check(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_VAX"]}"#,
            &expect![
                "seccomp profile: unknown variant `SCMP_ARCH_VAX`, expected one of `SCMP_ARCH_X86_64`, `SCMP_ARCH_AARCH64`, `SCMP_ARCH_X86`, `SCMP_ARCH_ARM`, `SCMP_ARCH_LOONGARCH64`, `SCMP_ARCH_M68K`, `SCMP_ARCH_MIPS`, `SCMP_ARCH_MIPS64`, `SCMP_ARCH_MIPS64N32`, `SCMP_ARCH_MIPSEL`, `SCMP_ARCH_MIPSEL64`, `SCMP_ARCH_MIPSEL64N32`, `SCMP_ARCH_PARISC`, `SCMP_ARCH_PARISC64`, `SCMP_ARCH_PPC`, `SCMP_ARCH_PPC64`, `SCMP_ARCH_PPC64LE`, `SCMP_ARCH_RISCV64`, `SCMP_ARCH_S390`, `SCMP_ARCH_S390X`, `SCMP_ARCH_SH`, `SCMP_ARCH_SHEB`, `SCMP_ARCH_X32` at line 1 column 66"
            ],
        );
        let rule =
            |rule: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#);
        check(
            &rule(
                r#"{"names":["a"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":1,"op":"SCMP_CMP_XX"}]}"#,
            ),
            &expect![
                "seccomp profile: unknown variant `SCMP_CMP_XX`, expected one of `SCMP_CMP_NE`, `SCMP_CMP_LT`, `SCMP_CMP_LE`, `SCMP_CMP_EQ`, `SCMP_CMP_GE`, `SCMP_CMP_GT`, `SCMP_CMP_MASKED_EQ` at line 1 column 133"
            ],
        );
        check(
            &rule(r#"{"names":["a"],"action":"SCMP_ACT_TRAP","includes":{"caps":["CAP_FLY"]}}"#),
            &expect![[r#"seccomp profile: rule 1 (a): unknown capability "CAP_FLY""#]],
        );
        check(
            &rule(r#"{"names":["a"],"action":"SCMP_ACT_TRAP","excludes":{"arches":["vax"]}}"#),
            &expect![[r#"seccomp profile: rule 1 (a): unknown architecture "vax""#]],
        );
        check(
            &rule(r#"{"names":["a"],"action":"SCMP_ACT_TRAP","includes":{"minKernel":"new"}}"#),
            &expect![[r#"seccomp profile: rule 1 (a): "new" is not a kernel version"#]],
        );
    }

    /// One that is misspelt would be a rule without its condition.
    #[test]
    fn unknown_fields_are_refused_at_every_depth() {
        let top = |field: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW",{field}}}"#);
        let rule = |field: &str| {
            top(&format!(r#""syscalls":[{{"names":["a"],"action":"SCMP_ACT_TRAP",{field}}}]"#))
        };
        let texts = [
            top(r#""nosuch":1"#),
            top(r#""archMap":[{"architecture":"SCMP_ARCH_X86_64","nosuch":1}]"#),
            rule(r#""nosuch":1"#),
            rule(r#""args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ","nosuch":1}]"#),
            rule(r#""includes":{"nosuch":1}"#),
            rule(r#""excludes":{"nosuch":1}"#),
        ];
        let is_refused = |text: &&String| {
            let refusal = Profile::parse(text.as_bytes()).err().map(|error| error.to_string());
            refusal.is_some_and(|said| said.contains("unknown field `nosuch`"))
        };
        let accepted: Vec<_> = texts.iter().filter(|text| !is_refused(text)).collect();
        assert_eq!(accepted, Vec::<&String>::new());
    }

    #[test]
    fn parts_that_contradict_each_other_are_refused() {
        let rule =
            |rule: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#);
        check(
            &rule(r#"{"action":"SCMP_ACT_TRAP"}"#),
            &expect!["seccomp profile: rule 1 (): missing field `names`"],
        );
        check(
            &rule(r#"{"names":[],"action":"SCMP_ACT_TRAP"}"#),
            &expect!["seccomp profile: rule 1 (): missing field `names`"],
        );
        check(
            &rule(r#"{"name":"a","names":["b"],"action":"SCMP_ACT_TRAP"}"#),
            &expect!["seccomp profile: rule 1 (b): both `name` and `names` are given"],
        );
        check(
            &rule(r#"{"names":["a"],"action":"SCMP_ACT_TRAP","errnoRet":1}"#),
            &expect![
                "seccomp profile: rule 1 (a): an errno can be given with SCMP_ACT_ERRNO and SCMP_ACT_TRACE only"
            ],
        );
        check(
            &rule(r#"{"names":["a"],"action":"SCMP_ACT_ERRNO","errnoRet":4096}"#),
            &expect!["seccomp profile: rule 1 (a): errno 4096 is more than 4095"],
        );
        check(
            &rule(r#"{"names":["a"],"action":"SCMP_ACT_NOTIFY"}"#),
            &expect!["seccomp profile: SCMP_ACT_NOTIFY needs `listenerPath`"],
        );
        check(
            &rule(
                r#"{"names":["a"],"action":"SCMP_ACT_TRAP","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}"#,
            ),
            &expect!["seccomp profile: rule 1 (a): argument 6 does not exist, the last is 5"],
        );
        check(
            &rule(
                r#"{"names":["a"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":1,"valueTwo":2,"op":"SCMP_CMP_EQ"}]}"#,
            ),
            &expect!["seccomp profile: rule 1 (a): `valueTwo` is for SCMP_CMP_MASKED_EQ only"],
        );
        check(
            &rule(
                r#"{"names":["a"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":1,"valueTwo":2,"op":"SCMP_CMP_MASKED_EQ"}]}"#,
            ),
            &expect!["seccomp profile: rule 1 (a): argument & 0x1 can never be 0x2"],
        );
        check(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}"#,
            &expect!["seccomp profile: both `architectures` and `archMap` are given"],
        );
    }

    #[test]
    fn a_profile_that_is_too_long_is_refused_before_it_is_read() {
        let json = vec![b' '; MAX_PROFILE + 1];
        assert!(matches!(Profile::parse(&json), Err(ParseError::TooLong(_))));
    }

    #[test]
    fn kernel_versions_are_read_from_profiles_and_from_uname() {
        let version = |major, minor| KernelVersion { major, minor };
        assert_eq!("4.8".parse(), Ok(version(4, 8)));
        assert_eq!(KernelVersion::from_release("6.1.0-13-amd64"), Some(version(6, 1)));
        assert_eq!(KernelVersion::from_release("6.18-rc1"), Some(version(6, 18)));
        assert_eq!(KernelVersion::from_release("next"), None);
        assert!(version(4, 19) > version(4, 8));
    }
}
