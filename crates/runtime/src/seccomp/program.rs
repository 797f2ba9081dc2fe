//! From verdicts to instructions of the kernel's classic BPF.
//!
//! A binary search over the ranges of call numbers: the kernel runs the filter for every call number
//! when it is loaded, to find those that are always allowed, so a linear filter of 470 entries takes
//! 1.28 ms to load and a tree of the same entries 0.26 ms.
//!
//! Owns instructions and jumps. Which verdict holds where is `policy`'s.

use sys::seccomp::Instruction;

use super::action::{Action, ENOSYS};
use super::policy::{Clause, Range, Test, Verdict};
use super::profile::Op;
use super::syscalls::{Arch, Width};

pub(super) const LOAD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const JUMP: u16 = 0x05;
pub(super) const JUMP_EQUAL: u16 = 0x15;
pub(super) const JUMP_GREATER: u16 = 0x25;
pub(super) const JUMP_GREATER_EQUAL: u16 = 0x35;
pub(super) const RETURN: u16 = 0x06;

/// Offsets in the kernel's `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Where a step of a test goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// The next step.
    Next,
    /// The test holds.
    Held,
    /// The clause does not hold.
    Failed,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Load(u32),
    And(u32),
    If(u16, u32, To, To),
}

/// The whole filter: each architecture with the ranges of its calls; all others get `ENOSYS`.
pub(super) fn assemble(arches: &[(Arch, Vec<Range>)]) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD, ARCH)];
    for (arch, ranges) in arches {
        let mut block = vec![plain(LOAD, NUMBER)];
        block.extend(tree(ranges));
        program.extend(branch(JUMP_EQUAL, arch.audit(), block.len(), Skip::Otherwise));
        program.extend(block);
    }
    program.push(answer(ENOSYS));
    program
}

/// Every path through it ends with an answer.
fn tree(ranges: &[Range]) -> Vec<Instruction> {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    if let ([], [range]) = (lower, upper) {
        return leaf(&range.verdict);
    }
    let Some(first_above) = upper.first() else { return vec![answer(ENOSYS)] };
    let below = tree(lower);
    let mut code = branch(JUMP_GREATER_EQUAL, first_above.from, below.len(), Skip::IfSo);
    code.extend(below);
    code.extend(tree(upper));
    code
}

/// When a branch skips what comes after it.
enum Skip {
    IfSo,
    Otherwise,
}

/// A conditional jump over `length` instructions. A conditional jump reaches 255 instructions, an
/// unconditional one all.
fn branch(code: u16, k: u32, length: usize, skip: Skip) -> Vec<Instruction> {
    if let Ok(short) = u8::try_from(length) {
        let (jt, jf) = match skip {
            Skip::IfSo => (short, 0),
            Skip::Otherwise => (0, short),
        };
        return vec![Instruction { code, jt, jf, k }];
    }
    let (jt, jf) = match skip {
        Skip::IfSo => (0, 1),
        Skip::Otherwise => (1, 0),
    };
    // A program that is longer than this is refused before it is loaded.
    let far = u32::try_from(length).unwrap_or(u32::MAX);
    vec![Instruction { code, jt, jf, k }, plain(JUMP, far)]
}

fn leaf(verdict: &Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Always(action) => vec![answer(*action)],
        Verdict::FirstOf(clauses, last) => {
            let mut code: Vec<Instruction> = clauses.iter().flat_map(clause).collect();
            code.push(answer(*last));
            code
        }
    }
}

/// The tests in turn and the answer; where one fails, control goes on after the answer.
///
/// At most six tests of six steps: every jump fits into eight bits.
fn clause(clause: &Clause) -> Vec<Instruction> {
    let tests: Vec<Vec<Step>> = clause.tests.iter().map(steps).collect();
    let length: usize = tests.iter().map(Vec::len).sum();
    let mut code = Vec::with_capacity(length + 1);
    let mut held = 0;
    for test in &tests {
        held += test.len();
        for step in test {
            let here = code.len() + 1;
            code.push(instruction(*step, held - here, length + 1 - here));
        }
    }
    code.push(answer(clause.action));
    code
}

/// One step, with the distances to the end of its test and to the end of its clause.
fn instruction(step: Step, held: usize, failed: usize) -> Instruction {
    let distance = |to: To| match to {
        To::Next => 0,
        To::Held => u8::try_from(held).unwrap_or(u8::MAX),
        To::Failed => u8::try_from(failed).unwrap_or(u8::MAX),
    };
    match step {
        Step::Load(offset) => plain(LOAD, offset),
        Step::And(mask) => plain(AND, mask),
        Step::If(code, k, yes, no) => Instruction { code, jt: distance(yes), jf: distance(no), k },
    }
}

fn steps(test: &Test) -> Vec<Step> {
    let low = ARGUMENTS + 8 * u32::from(test.index);
    let (value_high, value_low) = halves(test.value);
    if test.width != Width::Long {
        let mut steps = vec![Step::Load(low)];
        let asked = if let Op::MaskedEq { mask } = test.op { mask } else { u64::MAX };
        let (_, mask) = halves(asked & test.width.mask());
        if mask != u32::MAX {
            steps.push(Step::And(mask));
        }
        steps.push(compare(test.op, value_low));
        return steps;
    }
    let (load_low, load_high) = (Step::Load(low), Step::Load(low + 4));
    let equal = |yes, no| Step::If(JUMP_EQUAL, value_high, yes, no);
    let greater = |yes, no| Step::If(JUMP_GREATER, value_high, yes, no);
    let last = compare(test.op, value_low);
    match test.op {
        Op::Eq => vec![load_high, equal(To::Next, To::Failed), load_low, last],
        Op::Ne => vec![load_high, equal(To::Next, To::Held), load_low, last],
        Op::Gt | Op::Ge => vec![
            load_high,
            greater(To::Held, To::Next),
            equal(To::Next, To::Failed),
            load_low,
            last,
        ],
        Op::Lt | Op::Le => vec![
            load_high,
            greater(To::Failed, To::Next),
            equal(To::Next, To::Held),
            load_low,
            last,
        ],
        Op::MaskedEq { mask } => {
            let (mask_high, mask_low) = halves(mask);
            vec![
                load_high,
                Step::And(mask_high),
                equal(To::Next, To::Failed),
                load_low,
                Step::And(mask_low),
                last,
            ]
        }
    }
}

/// The comparison that decides a test.
fn compare(op: Op, value: u32) -> Step {
    match op {
        Op::Eq | Op::MaskedEq { .. } => Step::If(JUMP_EQUAL, value, To::Held, To::Failed),
        Op::Ne => Step::If(JUMP_EQUAL, value, To::Failed, To::Held),
        Op::Gt => Step::If(JUMP_GREATER, value, To::Held, To::Failed),
        Op::Ge => Step::If(JUMP_GREATER_EQUAL, value, To::Held, To::Failed),
        Op::Lt => Step::If(JUMP_GREATER_EQUAL, value, To::Failed, To::Held),
        Op::Le => Step::If(JUMP_GREATER, value, To::Failed, To::Held),
    }
}

/// The high and the low word of a register. `seccomp_data` is in the host's byte order, which is
/// little-endian on every architecture that [`Arch`] names.
fn halves(value: u64) -> (u32, u32) {
    let bytes = value.to_le_bytes();
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    (word(4), word(0))
}

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

const fn answer(action: Action) -> Instruction {
    plain(RETURN, action.value())
}
