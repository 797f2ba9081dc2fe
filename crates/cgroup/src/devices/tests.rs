//! Device rules against a naive reading of them, on both versions.

use expect_test::expect;
use proptest::prelude::*;
use sys::bpf::Instruction;

use super::program::{
    AND, EXIT, JUMP_EQUAL, JUMP_NOT_EQUAL, LOAD_WORD, MOVE, MOVE_REGISTER, SHIFT_RIGHT,
};
use super::*;

fn rule(effect: Effect, text: &str) -> DeviceRule {
    let mut words = text.split(' ');
    let kind = match words.next().unwrap() {
        "a" => DeviceKind::All,
        "c" => DeviceKind::Char,
        _ => DeviceKind::Block,
    };
    let (major, minor) = words.next().unwrap().split_once(':').unwrap();
    let access = Access::parse(words.next().unwrap()).unwrap();
    DeviceRule { effect, kind, major: major.parse().ok(), minor: minor.parse().ok(), access }
}

fn allow(text: &str) -> DeviceRule {
    rule(Effect::Allow, text)
}

fn deny(text: &str) -> DeviceRule {
    rule(Effect::Deny, text)
}

fn written(rules: &[DeviceRule]) -> String {
    match v1_writes(&DeviceRules::new(rules.to_vec())) {
        Ok(writes) => writes.iter().map(|(file, value)| format!("{file} {value}\n")).collect(),
        Err(error) => format!("{error}\n"),
    }
}

#[test]
fn access_letters_are_read_and_printed() {
    assert_eq!(Access::parse("mwr").unwrap().to_string(), "rwm");
    assert_eq!(Access::parse("").unwrap().to_string(), "");
    assert_eq!(
        Access::parse("rx").unwrap_err().to_string(),
        r#"device access "rx" is not made of r, w and m"#
    );
}

#[test]
fn v1_lists_what_is_allowed() {
    let text =
        written(&[deny("a *:* rwm"), allow("c *:* m"), allow("c 1:3 rwm"), allow("a 8:* r")]);
    expect![[r#"
        devices.deny a
        devices.allow c *:* m
        devices.allow c 1:3 rwm
        devices.allow c 8:* r
        devices.allow b 8:* r
    "#]]
    .assert_eq(&text);
    expect![[r#"
        devices.deny a
    "#]]
    .assert_eq(&written(&[]));
    expect![""].assert_eq(&written(&[deny("c 1:3 rwm"), allow("a *:* rwm")]));
}

#[test]
fn v1_takes_back_what_is_denied_later() {
    let text = written(&[allow("c 1:3 rwm"), allow("c 5:1 r"), deny("c 1:* w"), deny("c 5:1 r")]);
    expect![[r#"
        devices.deny a
        devices.allow c 1:3 rm
    "#]]
    .assert_eq(&text);
}

#[test]
fn v1_lists_what_is_denied_where_all_else_is_allowed() {
    expect![[r#"
        devices.deny b 8:0 w
    "#]]
    .assert_eq(&written(&[allow("a *:* rwm"), deny("b 8:0 w")]));
}

#[test]
fn v1_refuses_what_it_cannot_say() {
    expect![[r#"
        cgroup v1 cannot except the devices c 1:3 w from c 1:* rwm
    "#]]
    .assert_eq(&written(&[allow("c 1:* rwm"), deny("c 1:3 w")]));
    expect![[r#"
        cgroup v1 cannot except the devices b 8:0 w from b *:* w
    "#]]
    .assert_eq(&written(&[allow("a *:* rwm"), deny("b *:* w"), allow("b 8:0 w")]));
}

#[test]
fn without_restrictions_nothing_is_set_up() {
    assert!(program(&DeviceRules::unrestricted()).is_none());
    assert_eq!(v1_writes(&DeviceRules::unrestricted()), Ok(vec![]));
    assert!(program(&DeviceRules::default()).is_some());
}

/// A request as the kernel makes it.
#[derive(Debug, Clone, Copy)]
struct Request {
    kind: DeviceKind,
    major: u32,
    minor: u32,
    access: Access,
}

/// Runs a program as the kernel would. Panics on what it would not load.
fn run(program: &[Instruction], request: &Request) -> bool {
    let kind: u32 = if request.kind == DeviceKind::Block { 1 } else { 2 };
    let context = [kind | u32::from(request.access.0) << 16, request.major, request.minor];
    let mut registers = [0_u64; 6];
    let mut at = 0_usize;
    loop {
        let Instruction { code, registers: names, offset, immediate } = program[at];
        let (to, from) = (usize::from(names & 15), usize::from(names >> 4));
        let operand = i64::from(immediate).cast_unsigned();
        let low = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap();
        let mut skip = |holds: bool| {
            if holds {
                at += usize::try_from(offset).unwrap()
            }
        };
        match code {
            LOAD_WORD => registers[to] = u64::from(context[usize::try_from(offset).unwrap() / 4]),
            MOVE => registers[to] = operand,
            MOVE_REGISTER => registers[to] = registers[from],
            AND => registers[to] &= operand,
            SHIFT_RIGHT => registers[to] >>= operand,
            JUMP_EQUAL => skip(low(registers[to]) == low(operand)),
            JUMP_NOT_EQUAL => skip(low(registers[to]) != low(operand)),
            EXIT => return registers[0] == 1,
            other => panic!("instruction {other:#x}"),
        }
        at += 1;
    }
}

/// Each kind of access by itself: what the last rule that names it says.
fn naive(rules: &[DeviceRule], request: &Request) -> bool {
    let bits = [Access::READ, Access::WRITE, Access::MKNOD];
    bits.into_iter().filter(|bit| request.access.intersects(*bit)).all(|bit| {
        let names = |rule: &&DeviceRule| {
            (rule.kind == DeviceKind::All || rule.kind == request.kind)
                && rule.major.is_none_or(|major| major == request.major)
                && rule.minor.is_none_or(|minor| minor == request.minor)
                && rule.access.intersects(bit)
        };
        rules.iter().rev().find(names).is_some_and(|rule| rule.effect == Effect::Allow)
    })
}

/// The kernel's v1 lists, as `security/device_cgroup.c` decides by them.
fn v1_answer(writes: &[(&'static str, String)], request: &Request) -> bool {
    let default_denies = writes.iter().any(|(file, rule)| *file == "devices.deny" && rule == "a");
    let exceptions: Vec<DeviceRule> =
        writes.iter().filter(|(_, rule)| rule != "a").map(|(_, text)| allow(text)).collect();
    let about = |rule: &&DeviceRule| {
        rule.kind == request.kind
            && rule.major.is_none_or(|major| major == request.major)
            && rule.minor.is_none_or(|minor| minor == request.minor)
    };
    let mut about = exceptions.iter().filter(about);
    if default_denies {
        return about.any(|rule| request.access.without(rule.access) == Access(0));
    }
    !about.any(|rule| request.access.intersects(rule.access))
}

fn rules() -> impl Strategy<Value = Vec<DeviceRule>> {
    let number = || prop_oneof![Just(None), (0_u32..3).prop_map(Some), Just(Some(u32::MAX))];
    let kind = prop_oneof![Just(DeviceKind::All), Just(DeviceKind::Char), Just(DeviceKind::Block)];
    let effect = prop_oneof![Just(Effect::Allow), Just(Effect::Deny)];
    let rule = (effect, kind, number(), number(), 0_u8..8).prop_map(
        |(effect, kind, major, minor, access)| DeviceRule {
            effect,
            kind,
            major,
            minor,
            access: Access(access),
        },
    );
    prop::collection::vec(rule, 0..6)
}

fn requests() -> impl Strategy<Value = Request> {
    let number = || prop_oneof![0_u32..4, Just(u32::MAX)];
    let kind = prop_oneof![Just(DeviceKind::Char), Just(DeviceKind::Block)];
    (kind, number(), number(), 1_u8..8).prop_map(|(kind, major, minor, access)| Request {
        kind,
        major,
        minor,
        access: Access(access),
    })
}

proptest! {
    #[test]
    fn the_program_says_what_the_rules_say(
        rules in rules(),
        requests in prop::collection::vec(requests(), 32),
    ) {
        let program = program(&DeviceRules::new(rules.clone()));
        for request in requests {
            let answer = program.as_ref().is_none_or(|program| run(program, &request));
            prop_assert_eq!(answer, naive(&rules, &request), "{:?}", request);
        }
    }

    #[test]
    fn the_lists_of_v1_say_what_the_rules_say_or_refuse_them(
        rules in rules(),
        requests in prop::collection::vec(requests(), 32),
    ) {
        if let Ok(writes) = v1_writes(&DeviceRules::new(rules.clone())) {
            for request in requests {
                // One kind of access at a time: v1 grants several at once only by one rule.
                for bit in [Access::READ, Access::WRITE, Access::MKNOD] {
                    let request = Request { access: bit, ..request };
                    prop_assert_eq!(v1_answer(&writes, &request), naive(&rules, &request));
                }
            }
        }
    }
}
