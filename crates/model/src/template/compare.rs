//! `eq`, `lt` and their kin, with Go's rules on what can be compared with what.

use super::print;
use super::value::Value;
use std::cmp::Ordering;

const INCOMPATIBLE: &str = "incompatible types for comparison";
const INVALID: &str = "invalid type for comparison";

/// Whether the first equals any of the others.
pub(super) fn eq(args: &[Value]) -> Result<bool, String> {
    let Some((first, others)) = args.split_first() else { return Err(INVALID.to_owned()) };
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[expect(clippy::float_cmp, reason = "this is the template's own equality")]
fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Str(a) | Value::Number(a), Value::Str(b) | Value::Number(b)) => Ok(a == b),
        (a, b) if is_basic(a) && is_basic(b) => Err(INCOMPATIBLE.to_owned()),
        (a, b) if is_nothing(a) || is_nothing(b) => Ok(is_nothing(a) && is_nothing(b)),
        (a, b) if is_basic(a) || is_basic(b) => Err(INCOMPATIBLE.to_owned()),
        (_, b) => Err(format!("non-comparable type {}: {}", print::nested(b), b.type_name())),
    }
}

fn is_basic(value: &Value) -> bool {
    matches!(
        value,
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) | Value::Number(_)
    )
}

fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::Missing | Value::Null | Value::Nil(_))
}

/// Whether `a` is less than `b`.
pub(super) fn lt(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(order(a, b)? == Some(Ordering::Less))
}

/// Whether `a` is at most `b`.
pub(super) fn le(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(matches!(order(a, b)?, Some(Ordering::Less | Ordering::Equal)))
}

fn order(a: &Value, b: &Value) -> Result<Option<Ordering>, String> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(Some(a.cmp(b))),
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        (Value::Str(a) | Value::Number(a), Value::Str(b) | Value::Number(b)) => Ok(Some(a.cmp(b))),
        (Value::Bool(_), Value::Bool(_)) => Err(INVALID.to_owned()),
        (a, b) if is_basic(a) && is_basic(b) => Err(INCOMPATIBLE.to_owned()),
        _ => Err(INVALID.to_owned()),
    }
}
