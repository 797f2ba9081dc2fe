//! Go's `%v`, and the functions `print` and `println` that are built on it.

use super::number;
use super::value::{NilKind, Struct, Value};

/// A value as an action prints it.
pub(super) fn top_level(value: &Value) -> String {
    match value {
        Value::Missing | Value::Null => "<no value>".to_owned(),
        _ => nested(value),
    }
}

/// A value as `%v` prints it, wherever it stands.
pub(super) fn nested(value: &Value) -> String {
    match value {
        Value::Missing | Value::Null | Value::Nil(NilKind::Pointer) => "<nil>".to_owned(),
        Value::Nil(NilKind::Slice) => "[]".to_owned(),
        Value::Nil(NilKind::Map) => "map[]".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => number::shortest(*value, number::GENERAL),
        Value::Str(text) | Value::Number(text) => text.to_string(),
        Value::List(list) => {
            let items: Vec<String> = list.items.iter().map(nested).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Map(map) => {
            let items: Vec<String> =
                map.entries.iter().map(|(key, value)| format!("{key}:{}", nested(value))).collect();
            format!("map[{}]", items.join(" "))
        }
        Value::Struct(record) => structure(record),
    }
}

fn structure(record: &Struct) -> String {
    let items: Vec<String> = record.values().map(|(_, value)| nested(value)).collect();
    format!("{{{}}}", items.join(" "))
}

/// `print`: a space between two operands when neither is a string.
pub(super) fn sprint(args: &[Value]) -> String {
    let mut out = String::new();
    for (i, value) in args.iter().enumerate() {
        let text = |value: &Value| matches!(value, Value::Str(_));
        if i > 0 && !text(value) && !text(&args[i - 1]) {
            out.push(' ');
        }
        out.push_str(&nested(value));
    }
    out
}

/// `println`: always a space, and a newline.
pub(super) fn sprintln(args: &[Value]) -> String {
    let words: Vec<String> = args.iter().map(nested).collect();
    words.join(" ") + "\n"
}

/// What the escaping functions work on: their arguments as one text.
pub(super) fn joined(args: &[Value]) -> String {
    if let [Value::Str(text)] = args {
        return text.to_string();
    }
    let printable: Vec<Value> = args
        .iter()
        .map(|value| match value {
            Value::Missing | Value::Null => Value::str("<no value>"),
            _ => value.clone(),
        })
        .collect();
    sprint(&printable)
}

/// A whole float, as an integer.
#[expect(clippy::cast_possible_truncation, reason = "the caller has checked that it is whole")]
pub(super) fn float_to_int(value: f64) -> Value {
    Value::Int(value as i64)
}
