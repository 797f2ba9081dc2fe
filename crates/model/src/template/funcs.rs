//! The functions that a template can call: Go's own and Docker's.
//!
//! Comparison, text escapes and printing have modules of their own; here is the table, and what
//! works on lists and maps.

use super::ast::Expr;
use super::value::{List, NilKind, Value};
use super::{Functions, compare, json, print, printf, text};
use std::rc::Rc;

/// What a parameter accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Param {
    Any,
    Str,
    Int,
    List,
}

impl Param {
    pub(super) const fn type_name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Str => "string",
            Self::Int => "int",
            Self::List => "[]string",
        }
    }
}

/// Runs a function; the expression is its first argument as written, for messages.
type Run = fn(&[Value], Functions, Option<&Expr>) -> Result<Value, String>;

/// One function.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) params: &'static [Param],
    pub(super) rest: Option<Param>,
    pub(super) run: Run,
}

macro_rules! function {
    ($name:literal, [$($param:ident),*], $run:expr) => {
        Function { name: $name, params: &[$(Param::$param),*], rest: None, run: $run }
    };
    ($name:literal, [$($param:ident),*], $rest:ident.., $run:expr) => {
        Function { name: $name, params: &[$(Param::$param),*], rest: Some(Param::$rest), run: $run }
    };
}

const TABLE: &[Function] = &[
    function!("and", [Any], Any.., |args, _, _| Ok(args[0].clone())),
    function!("call", [Any], Any.., call),
    function!("eq", [Any], Any.., |args, _, _| compare::eq(args).map(Value::Bool)),
    function!("ge", [Any, Any], |a, _, _| compare::lt(&a[0], &a[1]).map(|v| Value::Bool(!v))),
    function!("gt", [Any, Any], |a, _, _| compare::le(&a[0], &a[1]).map(|v| Value::Bool(!v))),
    function!("html", [], Any.., |args, _, _| Ok(Value::str(text::html(&print::joined(args))))),
    function!("index", [Any], Any.., |args, _, _| index(args)),
    function!("join", [List, Str], join),
    function!("js", [], Any.., |args, _, _| Ok(Value::str(text::js(&print::joined(args))))),
    function!("json", [Any], to_json),
    function!("le", [Any, Any], |a, _, _| compare::le(&a[0], &a[1]).map(Value::Bool)),
    function!("len", [Any], |args, _, _| len(&args[0])),
    function!("lower", [Str], |a, f, _| shape(a, f, str::to_lowercase)),
    function!("lt", [Any, Any], |a, _, _| compare::lt(&a[0], &a[1]).map(Value::Bool)),
    function!("ne", [Any, Any], |args, _, _| compare::eq(args).map(|same| Value::Bool(!same))),
    function!("not", [Any], |args, _, _| Ok(Value::Bool(!args[0].is_true()))),
    function!("or", [Any], Any.., |args, _, _| Ok(args[0].clone())),
    function!("pad", [Str, Int, Int], pad),
    function!("print", [], Any.., |args, _, _| Ok(Value::str(print::sprint(args)))),
    function!("printf", [Str], Any.., |args, _, _| Ok(Value::str(printf::sprintf(args)))),
    function!("println", [], Any.., |args, _, _| Ok(Value::str(print::sprintln(args)))),
    function!("slice", [Any], Any.., |args, _, _| slice(args)),
    function!("split", [Str, Str], split),
    function!("title", [Str], |a, f, _| shape(a, f, text::title)),
    function!("truncate", [Str, Int], truncate),
    function!("upper", [Str], |a, f, _| shape(a, f, str::to_uppercase)),
    function!("urlquery", [], Any.., |a, _, _| Ok(Value::str(text::url_query(&print::joined(a))))),
];

/// The function of that name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    let at = TABLE.binary_search_by_key(&name, |function| function.name).ok()?;
    Some(&TABLE[at])
}

fn string(value: &Value) -> &str {
    value.text().unwrap_or_default()
}

fn int(value: &Value) -> i64 {
    if let Value::Int(value) = value { *value } else { 0 }
}

fn shape(args: &[Value], set: Functions, change: fn(&str) -> String) -> Result<Value, String> {
    Ok(match set {
        Functions::Data => Value::str(change(string(&args[0]))),
        Functions::Header => args[0].clone(),
    })
}

fn to_json(args: &[Value], set: Functions, _: Option<&Expr>) -> Result<Value, String> {
    Ok(match set {
        Functions::Data => Value::str(json::compact(&args[0])),
        Functions::Header => args[0].clone(),
    })
}

fn call(args: &[Value], _: Functions, first: Option<&Expr>) -> Result<Value, String> {
    if matches!(args[0], Value::Null | Value::Missing) {
        return Err("call of nil".to_owned());
    }
    let shown = first.map_or_else(|| "value".to_owned(), ToString::to_string);
    Err(format!("non-function {shown} of type {}", args[0].type_name()))
}

fn join(args: &[Value], _: Functions, _: Option<&Expr>) -> Result<Value, String> {
    let Value::List(list) = &args[0] else { return Ok(Value::str("")) };
    let items: Vec<String> = list.items.iter().map(print::nested).collect();
    Ok(Value::str(items.join(string(&args[1]))))
}

fn split(args: &[Value], _: Functions, _: Option<&Expr>) -> Result<Value, String> {
    let (text, separator) = (string(&args[0]), string(&args[1]));
    if separator.is_empty() {
        return Ok(Value::strings(text.chars().map(String::from)));
    }
    Ok(Value::strings(text.split(separator)))
}

fn pad(args: &[Value], _: Functions, _: Option<&Expr>) -> Result<Value, String> {
    let text = string(&args[0]);
    if text.is_empty() {
        return Ok(Value::str(""));
    }
    let spaces = |value: &Value| match usize::try_from(int(value)) {
        Ok(count) if count <= 1 << 20 => Ok(" ".repeat(count)),
        Ok(_) => Err("padding exceeds 1 MiB".to_owned()),
        Err(_) => Err("strings: negative Repeat count".to_owned()),
    };
    Ok(Value::str(format!("{}{text}{}", spaces(&args[1])?, spaces(&args[2])?)))
}

fn truncate(args: &[Value], set: Functions, _: Option<&Expr>) -> Result<Value, String> {
    let text = string(&args[0]);
    if set == Functions::Header {
        return Ok(args[0].clone());
    }
    let length = int(&args[1]);
    let Ok(length) = usize::try_from(length) else {
        return Err(format!("runtime error: slice bounds out of range [:{length}]"));
    };
    let bytes = text.as_bytes();
    let kept = &bytes[..length.min(bytes.len())];
    Ok(Value::str(String::from_utf8_lossy(kept)))
}

fn len(value: &Value) -> Result<Value, String> {
    match value {
        Value::Missing => Err("reflect: call of reflect.Value.Type on zero Value".to_owned()),
        Value::Null | Value::Nil(NilKind::Pointer) => Err("len of nil pointer".to_owned()),
        _ => match value.len() {
            Some(length) => Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX))),
            None => Err(format!("len of type {}", value.type_name())),
        },
    }
}

fn index(args: &[Value]) -> Result<Value, String> {
    let mut item = args[0].clone();
    if matches!(item, Value::Missing | Value::Null) {
        return Err("index of untyped nil".to_owned());
    }
    for key in &args[1..] {
        item = index_one(&item, key)?;
    }
    Ok(item)
}

fn index_one(item: &Value, key: &Value) -> Result<Value, String> {
    let past = || "reflect: slice index out of range".to_owned();
    match item {
        Value::Missing | Value::Null | Value::Nil(NilKind::Pointer) => {
            Err("index of nil pointer".to_owned())
        }
        Value::List(list) => {
            list.items.get(position(key, list.items.len())?).cloned().ok_or_else(past)
        }
        Value::Nil(NilKind::Slice) => {
            position(key, 0)?;
            Err(past())
        }
        Value::Str(text) => {
            let at = position(key, text.len())?;
            let byte = text.as_bytes().get(at).ok_or("reflect: string index out of range")?;
            Ok(Value::Int(i64::from(*byte)))
        }
        Value::Map(map) => {
            let Value::Str(name) = key else { return Err(wrong_key(key)) };
            Ok(map.entries.get(&**name).cloned().unwrap_or_else(|| map.elem.zero()))
        }
        Value::Nil(NilKind::Map) => match key {
            Value::Str(_) => Ok(Value::str("")),
            _ => Err(wrong_key(key)),
        },
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Number(_) | Value::Struct(_) => {
            Err(format!("can't index item of type {}", item.type_name()))
        }
    }
}

fn wrong_key(key: &Value) -> String {
    match key {
        Value::Missing | Value::Null => "value is nil; should be of type string".to_owned(),
        _ => format!("value has type {}; should be string", key.type_name()),
    }
}

/// An index that is at most `length`; what lies exactly at the end is the caller's business.
fn position(key: &Value, length: usize) -> Result<usize, String> {
    match key {
        Value::Int(at) => usize::try_from(*at)
            .ok()
            .filter(|at| *at <= length)
            .ok_or_else(|| format!("index out of range: {at}")),
        Value::Missing | Value::Null => Err("cannot index slice/array with nil".to_owned()),
        _ => Err(format!("cannot index slice/array with type {}", key.type_name())),
    }
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let item = &args[0];
    let keys = &args[1..];
    let length = match item {
        Value::Missing | Value::Null => return Err("slice of untyped nil".to_owned()),
        Value::Str(_) if keys.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::Str(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Nil(NilKind::Slice) => 0,
        _ => return Err(format!("can't slice item of type {}", item.type_name())),
    };
    if keys.len() > 3 {
        return Err(format!("too many slice indexes: {}", keys.len()));
    }
    let mut at = [0, length, length];
    for (slot, key) in at.iter_mut().zip(keys) {
        *slot = position(key, length)?;
    }
    let [from, to, cap] = at;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    if to > cap {
        return Err(format!("invalid slice index: {to} > {cap}"));
    }
    Ok(match item {
        Value::Str(text) => Value::str(String::from_utf8_lossy(&text.as_bytes()[from..to])),
        Value::List(list) => {
            let items = list.items[from..to].to_vec();
            Value::List(Rc::new(List { items, elem: list.elem }))
        }
        _ => Value::Nil(NilKind::Slice),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_for_its_search() {
        assert!(TABLE.is_sorted_by_key(|function| function.name));
    }
}
