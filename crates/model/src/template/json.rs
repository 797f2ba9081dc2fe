//! JSON as Go's encoder writes it without HTML escapes: structures in the order of their fields,
//! maps by key.

use super::number;
use super::value::{Origin, Value};
use std::fmt::Write as _;

/// A template's value, with no white space.
pub(super) fn compact(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Missing | Value::Null | Value::Nil(_) => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Float(value) => out.push_str(&number::shortest(*value, number::JSON)),
        Value::Number(text) => out.push_str(text),
        Value::Str(text) => write_string(out, text),
        Value::List(list) => {
            for (i, item) in list.items.iter().enumerate() {
                out.push(if i == 0 { '[' } else { ',' });
                write_value(out, item);
            }
            out.push_str(if list.items.is_empty() { "[]" } else { "]" });
        }
        Value::Map(map) => {
            let pairs = map.entries.iter().map(|(key, value)| (key.as_str(), value));
            write_object(out, pairs);
        }
        Value::Struct(record) => {
            let pairs = record.fields.iter().map(|(key, value)| (key.as_str(), value));
            match record.origin {
                Origin::Server => write_object(out, pairs),
                Origin::Row => {
                    let mut text = String::new();
                    write_object(&mut text, pairs);
                    out.push_str(&escape_html(&text));
                }
            }
        }
    }
}

fn escape_html(text: &str) -> String {
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn write_object<'a>(out: &mut String, pairs: impl Iterator<Item = (&'a str, &'a Value)>) {
    out.push('{');
    for (i, (key, value)) in pairs.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(out, key);
        out.push(':');
        write_value(out, value);
    }
    out.push('}');
}

/// Writes a string literal.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            c if c < ' ' || matches!(c, '\u{2028}' | '\u{2029}') => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
