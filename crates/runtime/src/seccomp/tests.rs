//! The compiled filter against a naive reading of the profile, and against the running kernel.

use expect_test::expect;
use proptest::prelude::*;
use sys::seccomp::Instruction;

use super::document::{
    ActionName, ArgDocument, ConditionDocument, Document, Object, OpName, RuleDocument,
};
use super::program::{AND, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL, LOAD, RETURN};
use super::*;

pub(super) fn target() -> Target {
    Target {
        arch: Arch::X86_64,
        caps: CapSet::DOCKER_DEFAULT,
        kernel: KernelVersion { major: 6, minor: 18 },
        foreign: Foreign::Refused,
    }
}

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

/// A system call as the kernel shows it to a filter.
#[derive(Debug, Clone, Copy)]
struct Call {
    arch: u32,
    number: u32,
    args: [u64; 6],
}

impl Call {
    fn new(name: &str, args: &[u64]) -> Self {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        Self { arch: X86_64, number: Arch::X86_64.number(name).unwrap(), args: all }
    }

    fn word(&self, offset: u32) -> u32 {
        let mut data = Vec::new();
        data.extend(self.number.to_le_bytes());
        data.extend(self.arch.to_le_bytes());
        data.extend([0; 8]);
        data.extend(self.args.iter().flat_map(|arg| arg.to_le_bytes()));
        let at = usize::try_from(offset).unwrap();
        u32::from_le_bytes(data[at..at + 4].try_into().unwrap())
    }
}

/// Runs a filter as the kernel would. Panics on what the kernel would refuse to load.
fn run(program: &[Instruction], call: &Call) -> u32 {
    let (mut at, mut accumulator) = (0_usize, 0_u32);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
        match code {
            LOAD => accumulator = call.word(k),
            AND => accumulator &= k,
            JUMP => at += usize::try_from(k).unwrap(),
            JUMP_EQUAL => jump(accumulator == k),
            JUMP_GREATER => jump(accumulator > k),
            JUMP_GREATER_EQUAL => jump(accumulator >= k),
            RETURN => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn default_filter(target: &Target) -> Vec<Instruction> {
    compile_json(DEFAULT, target).unwrap().instructions
}

fn answer(call: &Call) -> u32 {
    run(&default_filter(&target()), call)
}

#[test]
fn the_default_profile_is_a_short_filter_without_unknown_names() {
    let program = compile_json(DEFAULT, &target()).unwrap();
    expect![[r#"
        (
            163,
            [],
            Flags(
                4,
            ),
        )
    "#]]
    .assert_debug_eq(&(program.instructions.len(), &program.unknown, program.flags));
    let arm = compile_json(DEFAULT, &Target { arch: Arch::Aarch64, ..target() }).unwrap();
    expect![[r#"
        171
    "#]]
    .assert_debug_eq(&arm.instructions.len());
    let both = compile_json(DEFAULT, &Target { foreign: Foreign::AsProfile, ..target() }).unwrap();
    expect![[r#"
        437
    "#]]
    .assert_debug_eq(&both.instructions.len());
}

#[test]
fn high_bits_do_not_open_a_socket_family() {
    for high in [0, 1 << 32, 1 << 63, 0xffff_ffff_0000_0000] {
        for family in 0..=64 {
            // 38 is AF_ALG, 40 AF_VSOCK.
            let expected = if family == 38 || family == 40 { EPERM } else { ALLOW };
            let call = Call::new("socket", &[family | high, 1, 0]);
            assert_eq!(answer(&call), expected, "{family} {high:#x}");
        }
    }
}

#[test]
fn high_bits_do_not_hide_clone_flags_or_personalities() {
    const NEWUSER: u64 = 0x1000_0000;
    for high in [0, 1 << 32, 1 << 63] {
        assert_eq!(answer(&Call::new("clone", &[NEWUSER | high])), EPERM);
        assert_eq!(answer(&Call::new("clone", &[0x11 | high])), ALLOW);
        assert_eq!(answer(&Call::new("personality", &[0x0004_0000 | high])), EPERM);
        assert_eq!(answer(&Call::new("personality", &[0xffff_ffff | high])), ALLOW);
    }
}

#[test]
fn foreign_calls_are_refused_unless_asked_for() {
    // socketcall of i386, and x32's read and ioctl.
    let socketcall = Call { arch: I386, number: 102, args: [1, 0, 0, 0, 0, 0] };
    assert_eq!(answer(&socketcall), ENOSYS);
    for number in [0x4000_0000, 0x4000_0202, 0x4000_0029, u32::MAX] {
        assert_eq!(answer(&Call { arch: X86_64, number, args: [0; 6] }), ENOSYS);
    }
    assert_eq!(answer(&Call { arch: 0xdead_beef, number: 0, args: [0; 6] }), ENOSYS);
    let both = default_filter(&Target { foreign: Foreign::AsProfile, ..target() });
    assert_eq!(run(&both, &socketcall), ALLOW);
    assert_eq!(run(&both, &Call { arch: X86_64, number: 0x4000_0000, args: [0; 6] }), ENOSYS);
    // i386's socket, 359.
    let vsock = Call { arch: I386, number: 359, args: [40, 1, 0, 0, 0, 0] };
    assert_eq!(run(&both, &vsock), EPERM);
}

#[test]
fn x32_is_refused_even_where_all_else_is_allowed() {
    let filter = compile_json(br#"{"defaultAction":"SCMP_ACT_ALLOW"}"#, &target()).unwrap();
    let call = |arch, number| run(&filter.instructions, &Call { arch, number, args: [0; 6] });
    assert_eq!(call(X86_64, 1000), ALLOW);
    assert_eq!(call(X86_64, 0x4000_0000), ENOSYS);
    assert_eq!(call(I386, 1), ENOSYS);
}

#[test]
fn old_calls_that_are_not_listed_are_denied_and_new_ones_do_not_exist() {
    for name in ["keyctl", "add_key", "unshare", "mount", "io_uring_setup", "userfaultfd"] {
        assert_eq!(answer(&Call::new(name, &[])), EPERM, "{name}");
    }
    assert_eq!(answer(&Call::new("clone3", &[])), ENOSYS);
    // Newer than every call that the profile names; in a hole of the table; far beyond it.
    for number in [467, 468, 400, 100_000] {
        let call = Call { arch: X86_64, number, args: [0; 6] };
        assert_eq!(answer(&call), ENOSYS, "{number}");
    }
}

#[test]
fn conditions_follow_the_container_the_architecture_and_the_kernel() {
    let admin = CapSet::from_iter(["CAP_SYS_ADMIN".parse().unwrap()]);
    let filter = default_filter(&Target { caps: admin, ..target() });
    for name in ["mount", "clone3", "unshare", "setns"] {
        assert_eq!(run(&filter, &Call::new(name, &[])), ALLOW, "{name}");
    }
    assert_eq!(run(&filter, &Call::new("clone", &[0x1000_0000])), ALLOW);
    // chroot needs a capability of the default set.
    assert_eq!(run(&filter, &Call::new("chroot", &[])), EPERM);
    assert_eq!(answer(&Call::new("chroot", &[])), ALLOW);
    let old = KernelVersion { major: 4, minor: 7 };
    let filter = default_filter(&Target { kernel: old, ..target() });
    assert_eq!(run(&filter, &Call::new("ptrace", &[])), EPERM);
    assert_eq!(answer(&Call::new("ptrace", &[])), ALLOW);
    assert_eq!(answer(&Call::new("arch_prctl", &[])), ALLOW);
}

#[test]
fn a_stricter_rule_is_not_hidden_by_a_looser_one() {
    let json = br#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["socket"],"action":"SCMP_ACT_ALLOW"},
        {"names":["socket"],"action":"SCMP_ACT_ERRNO","errnoRet":97,
         "args":[{"index":0,"value":38,"op":"SCMP_CMP_EQ"}]}]}"#;
    let filter = compile_json(json, &target()).unwrap().instructions;
    assert_eq!(run(&filter, &Call::new("socket", &[38])), 0x0005_0061);
    assert_eq!(run(&filter, &Call::new("socket", &[2])), ALLOW);
}

#[test]
fn checks_on_one_argument_are_alternatives() {
    let json = br#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[
         {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]}]}"#;
    let filter = compile_json(json, &target()).unwrap().instructions;
    let family = |family| run(&filter, &Call::new("socket", &[family]));
    assert_eq!([family(0), family(1), family(2), family(3)], [EPERM, ALLOW, ALLOW, EPERM]);
}

#[test]
fn minus_one_is_an_int_as_well() {
    let json = br#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[
         {"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]}"#;
    let filter = compile_json(json, &target()).unwrap().instructions;
    assert_eq!(run(&filter, &Call::new("personality", &[0xffff_ffff])), ALLOW);
    assert_eq!(run(&filter, &Call::new("personality", &[0xffff])), EPERM);
}

#[test]
fn an_argument_that_does_not_exist_is_refused() {
    let json = br#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["close"],"action":"SCMP_ACT_ALLOW","args":[
         {"index":1,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#;
    let error = compile_json(json, &target()).unwrap_err();
    assert_eq!(error.to_string(), "seccomp profile: close has no argument 1");
}

#[test]
fn misspelt_names_are_reported_and_foreign_ones_are_not() {
    let json = br#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["opne","read","socketcall","s390_runtime_instr","opne"],
         "action":"SCMP_ACT_ALLOW"}]}"#;
    assert_eq!(compile_json(json, &target()).unwrap().unknown, ["opne"]);
}

#[test]
fn a_filter_that_the_kernel_would_not_take_is_refused() {
    let rules: Vec<String> = (0..2000)
        .map(|value| {
            format!(
                r#"{{"names":["socket"],"action":"SCMP_ACT_ALLOW",
                "args":[{{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}}]}}"#
            )
        })
        .collect();
    let json = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{}]}}"#, rules.join(","));
    let error = compile_json(json.as_bytes(), &target()).unwrap_err();
    assert!(matches!(error, SeccompError::Compile(CompileError::TooLong(6000..))), "{error}");
}

#[test]
fn ocis_shape_is_read_too() {
    let spec: oci_spec::runtime::LinuxSeccomp = serde_json::from_str(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,
        "architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],
        "flags":["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW",
         "args":[{"index":0,"value":5,"valueTwo":1,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#,
    )
    .unwrap();
    let program = compile_json(&oci_text(&spec).unwrap(), &target()).unwrap();
    assert_eq!(run(&program.instructions, &Call::new("read", &[1])), ALLOW);
    assert_eq!(run(&program.instructions, &Call::new("read", &[4])), ENOSYS);
    assert_eq!(program.flags, Flags::LOG);
}

/// The running kernel takes the filter and acts on it. No privilege is needed: the child gives up
/// gaining any.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_kernel_takes_the_filter() {
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketType, socket};
    let filter = default_filter(&target());
    let in_child = || -> Result<(), i32> {
        rustix::thread::set_no_new_privs(true).map_err(|_| 1)?;
        sys::seccomp::load(&filter, Flags::SPEC_ALLOW).map_err(|_| 2)?;
        let family = |raw| socket(AddressFamily::from_raw(raw), SocketType::STREAM, None);
        (family(40).err() == Some(Errno::PERM)).then_some(()).ok_or(3)?;
        (family(38).err() == Some(Errno::PERM)).then_some(()).ok_or(4)?;
        family(1).map_err(|_| 5)?;
        let unshared = sys::process::unshare(sys::process::Namespaces::UTS);
        (unshared == Err(Errno::PERM)).then_some(()).ok_or(6)?;
        Ok(())
    };
    let child =
        sys::process::clone3(&sys::process::CloneArgs::default(), || in_child().err().unwrap_or(0))
            .unwrap();
    assert_eq!(sys::process::wait(&child.pidfd), Ok(sys::process::Exit::Code(0)));
}

/// What a profile says about a call, read rule by rule with no compilation.
fn naive(document: &Document, target: &Target, call: &Call) -> u32 {
    if call.arch != X86_64 || call.number >= 0x4000_0000 {
        return ENOSYS;
    }
    let names: Vec<&String> = document
        .syscalls
        .iter()
        .flatten()
        .flat_map(|Object(rule)| rule.names.iter().flatten())
        .collect();
    let number_of = |name: &str| Arch::X86_64.number(name);
    let default = encoded(document.default_action, document.default_errno_ret);
    let permissive =
        matches!(document.default_action, ActionName::Allow | ActionName::Log | ActionName::Trace);
    let known = Arch::X86_64.table().iter().find(|(_, number)| *number == call.number);
    let newest = names.iter().filter_map(|name| number_of(name)).max().unwrap_or(u32::MAX);
    let fallback = match known {
        _ if permissive => default,
        Some(_) if call.number <= newest => default,
        _ => ENOSYS,
    };
    let Some((name, _)) = known else { return fallback };
    let mut best: Option<(usize, u32)> = None;
    for Object(rule) in document.syscalls.iter().flatten() {
        let named = rule.names.iter().flatten().any(|listed| listed == name);
        if !named || !rule_holds(rule, target) || !checks_hold(rule, name, call) {
            continue;
        }
        let rank = strictness(rule.action);
        if best.is_none_or(|(least, _)| rank < least) {
            best = Some((rank, encoded(rule.action, rule.errno_ret)));
        }
    }
    let named_and_held = document.syscalls.iter().flatten().any(|Object(rule)| {
        rule_holds(rule, target) && rule.names.iter().flatten().any(|listed| listed == name)
    });
    best.map_or(if named_and_held { default } else { fallback }, |(_, value)| value)
}

fn strictness(action: ActionName) -> usize {
    match action {
        ActionName::KillProcess => 0,
        ActionName::Kill | ActionName::KillThread => 1,
        ActionName::Trap => 2,
        ActionName::Errno => 3,
        ActionName::Notify => 4,
        ActionName::Trace => 5,
        ActionName::Log => 6,
        ActionName::Allow => 7,
    }
}

fn encoded(action: ActionName, errno: Option<u32>) -> u32 {
    let errno = errno.unwrap_or(1);
    match action {
        ActionName::KillProcess => 0x8000_0000,
        ActionName::Kill | ActionName::KillThread => 0,
        ActionName::Trap => 0x0003_0000,
        ActionName::Errno => 0x0005_0000 + errno,
        ActionName::Notify => 0x7fc0_0000,
        ActionName::Trace => 0x7ff0_0000 + errno,
        ActionName::Log => 0x7ffc_0000,
        ActionName::Allow => 0x7fff_0000,
    }
}

fn rule_holds(rule: &RuleDocument, target: &Target) -> bool {
    let has = |name: &String| target.caps.contains(name.parse().unwrap());
    let here = |name: &String| name == "amd64";
    let empty = ConditionDocument::default();
    let includes = rule.includes.as_ref().map_or(&empty, |Object(condition)| condition);
    let excludes = rule.excludes.as_ref().map_or(&empty, |Object(condition)| condition);
    includes.caps.iter().flatten().all(has)
        && includes
            .arches
            .as_ref()
            .is_none_or(|arches| arches.is_empty() || arches.iter().any(here))
        && !excludes.caps.iter().flatten().any(has)
        && !excludes.arches.iter().flatten().any(here)
}

fn checks_hold(rule: &RuleDocument, name: &str, call: &Call) -> bool {
    let args: Vec<&ArgDocument> = rule.args.iter().flatten().map(|Object(arg)| arg).collect();
    let mut indices: Vec<u8> = args.iter().map(|arg| arg.index).collect();
    indices.sort_unstable();
    indices.dedup();
    if indices.len() < args.len() {
        return args.iter().any(|arg| check_holds(arg, name, call));
    }
    args.iter().all(|arg| check_holds(arg, name, call))
}

/// Compares as the kernel's own C would: both sides as numbers of the parameter's type.
fn check_holds(arg: &ArgDocument, name: &str, call: &Call) -> bool {
    let mask = Arch::X86_64.width(name, arg.index).unwrap().mask();
    let raw = call.args[usize::from(arg.index)];
    let is_negative = |value: u64| {
        mask != u64::MAX
            && i64::try_from(mask).is_ok_and(|mask| {
                let half = (mask / 2) + 1;
                value >= 0_i64.wrapping_sub(half).cast_unsigned()
            })
    };
    let value = |value: u64| if is_negative(value) { value & mask } else { value };
    let actual = raw & mask;
    match arg.op {
        OpName::Ne => actual != value(arg.value),
        OpName::Lt => actual < value(arg.value),
        OpName::Le => actual <= value(arg.value),
        OpName::Eq => actual == value(arg.value),
        OpName::Ge => actual >= value(arg.value),
        OpName::Gt => actual > value(arg.value),
        OpName::MaskedEq => actual & arg.value == value(arg.value_two.unwrap_or(0)),
    }
}

/// Values near the borders of words and of signs, and any other.
fn interesting() -> impl Strategy<Value = u64> {
    let near = |value: u64| (0_u64..3).prop_map(move |off| value.wrapping_add(off).wrapping_sub(1));
    prop_oneof![
        0_u64..6,
        near(1 << 15),
        near(1 << 16),
        near(1 << 31),
        near(1 << 32),
        near((1 << 32) + 3),
        near(1 << 63),
        near(0),
        near(0xffff_ffff_ffff_8000),
        near(0xffff_ffff_8000_0000),
        any::<u64>(),
    ]
}

/// Calls with arguments of every width, and some that only the number tells apart.
const NAMES: [&str; 9] =
    ["read", "socket", "clone", "chmod", "mmap", "unshare", "prctl", "openat", "setxattrat"];

fn rules() -> impl Strategy<Value = Vec<String>> {
    let op = prop::sample::select(vec!["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]);
    let arg = (0_u8..2, op, interesting(), interesting()).prop_map(|(index, op, value, two)| {
        let two = if op == "MASKED_EQ" { value & two } else { 0 };
        format!(r#"{{"index":{index},"op":"SCMP_CMP_{op}","value":{value},"valueTwo":{two}}}"#)
    });
    let action = prop::sample::select(vec![
        r#""SCMP_ACT_ALLOW""#,
        r#""SCMP_ACT_LOG""#,
        r#""SCMP_ACT_TRAP""#,
        r#""SCMP_ACT_KILL_PROCESS""#,
        r#""SCMP_ACT_ERRNO","errnoRet":7"#,
        r#""SCMP_ACT_TRACE","errnoRet":9"#,
        r#""SCMP_ACT_NOTIFY""#,
    ]);
    let condition = prop::sample::select(vec![
        "",
        r#","includes":{"caps":["CAP_SYS_ADMIN"]}"#,
        r#","includes":{"caps":["CAP_CHOWN"],"arches":["amd64"]}"#,
        r#","excludes":{"caps":["CAP_CHOWN"]}"#,
        r#","excludes":{"arches":["arm64"]}"#,
    ]);
    // Every call but unshare has two arguments; it gets checks of its first only.
    let rule = (
        prop::sample::subsequence(NAMES.to_vec(), 1..4),
        action,
        prop::collection::vec(arg, 0..4),
        condition,
    )
        .prop_map(|(names, action, args, condition)| {
            let names: Vec<String> = names
                .iter()
                .filter(|name| {
                    **name != "unshare" || args.iter().all(|arg| arg.contains(r#""index":0"#))
                })
                .map(|name| format!("{name:?}"))
                .collect();
            let names = if names.is_empty() { r#""getpid""#.to_owned() } else { names.join(",") };
            let args = if names == r#""getpid""# { String::new() } else { args.join(",") };
            format!(r#"{{"names":[{names}],"action":{action},"args":[{args}]{condition}}}"#)
        });
    prop::collection::vec(rule, 0..8)
}

fn profiles() -> impl Strategy<Value = String> {
    let default = prop::sample::select(vec!["ALLOW", "ERRNO", "KILL", "LOG", "TRAP"]);
    (default, rules()).prop_map(|(default, rules)| {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_{default}","listenerPath":"/l","syscalls":[{}]}}"#,
            rules.join(",")
        )
    })
}

fn calls() -> impl Strategy<Value = Call> {
    let number = prop_oneof![
        8 => prop::sample::select(NAMES.to_vec()).prop_map(|name| Arch::X86_64.number(name).unwrap()),
        2 => 0_u32..600,
        1 => any::<u32>(),
    ];
    let arch = prop_oneof![12 => Just(X86_64), 1 => Just(I386), 1 => any::<u32>()];
    (arch, number, prop::array::uniform6(interesting())).prop_map(|(arch, number, args)| Call {
        arch,
        number,
        args,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_filter_says_what_its_profile_says(
        json in profiles(),
        calls in prop::collection::vec(calls(), 64),
    ) {
        let Object::<Document>(document) = serde_json::from_str(&json).unwrap();
        let filter = compile_json(json.as_bytes(), &target()).unwrap().instructions;
        for call in calls {
            prop_assert_eq!(run(&filter, &call), naive(&document, &target(), &call), "{:?}", call);
        }
    }

    #[test]
    fn the_default_filter_says_what_its_profile_says(
        number in prop_oneof![0_u32..500, any::<u32>()],
        args in prop::array::uniform6(interesting()),
        caps in any::<u64>(),
    ) {
        let target = Target { caps: CapSet::from_bits(caps & ((1 << 41) - 1)), ..target() };
        let Object::<Document>(document) = serde_json::from_slice(DEFAULT).unwrap();
        let call = Call { arch: X86_64, number, args };
        let filter = default_filter(&target);
        prop_assert_eq!(run(&filter, &call), naive(&document, &target, &call));
    }

    #[test]
    fn bits_that_the_kernel_ignores_change_nothing(
        json in profiles(),
        call in calls(),
        noise in prop::array::uniform6(any::<u64>()),
    ) {
        let filter = compile_json(json.as_bytes(), &target()).unwrap().instructions;
        let found = Arch::X86_64.table().iter().find(|(_, number)| *number == call.number);
        let mut noisy = call;
        for (index, arg) in (0_u8..).zip(&mut noisy.args) {
            let width = found.and_then(|(name, _)| Arch::X86_64.width(name, index));
            *arg ^= noise[usize::from(index)] & !width.map_or(0, syscalls::Width::mask);
        }
        prop_assert_eq!(run(&filter, &noisy), run(&filter, &call));
    }
}
