//! Device rules as an extended BPF program for v2.
//!
//! The kernel asks with a kind, two numbers and one or several kinds of access at once. The program
//! goes through the rules from the last to the first and keeps the access that is still undecided:
//! the first matching rule decides about each kind of access. So `r` and `w` granted by two rules are
//! granted together, and `rw` is refused if one of them is.

use sys::bpf::Instruction;

use super::{Access, DeviceKind, DeviceRule, DeviceRules, Effect};

pub(super) const LOAD_WORD: u8 = 0x61;
pub(super) const MOVE: u8 = 0xb7;
pub(super) const MOVE_REGISTER: u8 = 0xbf;
pub(super) const AND: u8 = 0x57;
pub(super) const SHIFT_RIGHT: u8 = 0x77;
/// Of the low 32 bits (5.1): numbers may have their top bit set.
pub(super) const JUMP_EQUAL: u8 = 0x16;
pub(super) const JUMP_NOT_EQUAL: u8 = 0x56;
pub(super) const EXIT: u8 = 0x95;

/// The answer, and scratch.
const ANSWER: u8 = 0;
/// The kernel's `struct bpf_cgroup_dev_ctx`.
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const UNDECIDED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// The kernel's values in the low half of the first word of the context.
pub(super) const BLOCK: i32 = 1;
pub(super) const CHAR: i32 = 2;

/// The program, or none if nothing is restricted.
pub(crate) fn program(rules: &DeviceRules) -> Option<Vec<Instruction>> {
    if rules.is_unrestricted() {
        return None;
    }
    let (base, rest) = rules.split();
    let mut program = vec![
        load(KIND, 0),
        plain(MOVE_REGISTER, UNDECIDED | KIND << 4, 0),
        plain(AND, KIND, 0xffff),
        plain(SHIFT_RIGHT, UNDECIDED, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    rest.iter().rev().for_each(|rule| program.extend(code_of(rule)));
    program.extend(answer(base));
    Some(program)
}

fn code_of(rule: &DeviceRule) -> Vec<Instruction> {
    let decision = decision(rule.effect, rule.access);
    let kind = match rule.kind {
        DeviceKind::All => None,
        DeviceKind::Char => Some(CHAR),
        DeviceKind::Block => Some(BLOCK),
    };
    let number = |number: Option<u32>| number.map(u32::cast_signed);
    let tests = [(KIND, kind), (MAJOR, number(rule.major)), (MINOR, number(rule.minor))];
    let tests: Vec<(u8, i32)> =
        tests.into_iter().filter_map(|(register, value)| Some((register, value?))).collect();
    let mut code = Vec::new();
    for (place, (register, value)) in tests.iter().enumerate() {
        let rest = tests.len() - place - 1 + decision.len();
        code.push(jump(JUMP_NOT_EQUAL, *register, *value, rest));
    }
    code.extend(decision);
    code
}

/// What a matching rule does with the undecided access.
fn decision(effect: Effect, access: Access) -> Vec<Instruction> {
    let access = i32::from(access.0);
    let mut code = match effect {
        Effect::Allow => vec![
            plain(AND, UNDECIDED, !access),
            jump(JUMP_NOT_EQUAL, UNDECIDED, 0, answer(effect).len()),
        ],
        Effect::Deny => vec![
            plain(MOVE_REGISTER, ANSWER | UNDECIDED << 4, 0),
            plain(AND, ANSWER, access),
            jump(JUMP_EQUAL, ANSWER, 0, answer(effect).len()),
        ],
    };
    code.extend(answer(effect));
    code
}

fn answer(effect: Effect) -> [Instruction; 2] {
    let value = match effect {
        Effect::Allow => 1,
        Effect::Deny => 0,
    };
    [plain(MOVE, ANSWER, value), plain(EXIT, 0, 0)]
}

fn load(register: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD_WORD, registers: register | CONTEXT << 4, offset, immediate: 0 }
}

fn jump(code: u8, register: u8, value: i32, distance: usize) -> Instruction {
    // At most two tests and five instructions of a decision are ever skipped.
    let offset = i16::try_from(distance).unwrap_or(i16::MAX);
    Instruction { code, registers: register, offset, immediate: value }
}

const fn plain(code: u8, registers: u8, immediate: i32) -> Instruction {
    Instruction { code, registers, offset: 0, immediate }
}
