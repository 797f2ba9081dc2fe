//! Go's `printf`: verbs, flags, width, precision, argument indexes, and what it writes when a
//! verb and its argument do not fit.

use super::literal::{self, Keep};
use super::value::{Elem, NilKind, Value};
use super::{number, print};
use std::fmt::Write as _;

/// Widths and precisions above this are refused, as in Go.
const MAX_WIDTH: usize = 1_000_000;

/// The first argument is the format.
pub(super) fn sprintf(args: &[Value]) -> String {
    let Some((format, args)) = args.split_first() else { return String::new() };
    let text = format.text().unwrap_or_default();
    let mut printer = Printer { args, next: 0, reordered: false, out: String::new() };
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        printer.out.push_str(&rest[..at]);
        rest = printer.verb(&rest[at + 1..]);
    }
    printer.out.push_str(rest);
    printer.extra();
    printer.out
}

#[derive(Clone, Copy, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Printer<'a> {
    args: &'a [Value],
    next: usize,
    reordered: bool,
    out: String,
}

impl Printer<'_> {
    /// Formats one verb; `text` starts behind the percent sign. Gives what is left.
    fn verb<'t>(&mut self, text: &'t str) -> &'t str {
        let mut spec = Spec::default();
        let mut rest = flags(text, &mut spec);
        let mut bad_index = false;
        rest = self.index(rest, &mut bad_index);
        if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            spec.width = self.star(&mut spec, "%!(BADWIDTH)");
        } else {
            (spec.width, rest) = digits(rest);
        }
        if let Some(after) = rest.strip_prefix('.') {
            rest = self.index(after, &mut bad_index);
            if let Some(after) = rest.strip_prefix('*') {
                rest = after;
                let mut ignored = spec;
                spec.precision = self.star(&mut ignored, "%!(BADPREC)");
            } else {
                let (precision, after) = digits(rest);
                spec.precision = Some(precision.unwrap_or(0));
                rest = after;
            }
        }
        rest = self.index(rest, &mut bad_index);
        let Some(verb) = rest.chars().next() else {
            self.out.push_str("%!(NOVERB)");
            return rest;
        };
        let rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            self.out.push('%');
        } else if bad_index {
            self.push(format_args!("%!{verb}(BADINDEX)"));
        } else if let Some(value) = self.args.get(self.next) {
            self.next += 1;
            self.value(spec, verb, value);
        } else {
            self.push(format_args!("%!{verb}(MISSING)"));
        }
        rest
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.out.write_fmt(text);
    }

    fn index<'t>(&mut self, text: &'t str, bad: &mut bool) -> &'t str {
        let Some(after) = text.strip_prefix('[') else { return text };
        self.reordered = true;
        let Some((inside, rest)) = after.split_once(']') else {
            *bad = true;
            return after;
        };
        match inside.parse::<usize>() {
            Ok(at) if at >= 1 && at <= self.args.len() => self.next = at - 1,
            Ok(_) | Err(_) => *bad = true,
        }
        rest
    }

    /// A width or precision taken from the arguments.
    fn star(&mut self, spec: &mut Spec, complaint: &str) -> Option<usize> {
        let value = self.args.get(self.next);
        self.next += usize::from(value.is_some());
        if let Some(Value::Int(width)) = value {
            spec.minus |= *width < 0;
            let width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
            if width <= MAX_WIDTH {
                return Some(width);
            }
        }
        self.out.push_str(complaint);
        None
    }

    fn extra(&mut self) {
        if self.reordered || self.next >= self.args.len() {
            return;
        }
        self.out.push_str("%!(EXTRA ");
        for (i, value) in self.args[self.next..].iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            match value {
                Value::Missing | Value::Null => self.out.push_str("<nil>"),
                _ => self.push(format_args!("{}={}", value.type_name(), print::nested(value))),
            }
        }
        self.out.push(')');
    }

    fn value(&mut self, spec: Spec, verb: char, value: &Value) {
        match (verb, value) {
            ('T', Value::Missing | Value::Null) => self.padded(spec, "<nil>"),
            ('T', _) => self.padded(spec, &value.type_name()),
            ('v', _) if spec.sharp => {
                let text = syntax(value);
                self.padded(spec, &text);
            }
            (_, Value::Missing | Value::Null) if verb == 'v' => self.padded(spec, "<nil>"),
            (_, Value::Missing | Value::Null) => self.push(format_args!("%!{verb}(<nil>)")),
            (_, Value::Bool(truth)) => match verb {
                't' | 'v' => self.padded(spec, if *truth { "true" } else { "false" }),
                _ => self.bad(verb, value),
            },
            (_, Value::Int(n)) => self.int(spec, verb, *n),
            (_, Value::Float(n)) => self.float(spec, verb, *n),
            (_, Value::Str(text) | Value::Number(text)) => self.text(spec, verb, value, text),
            (_, Value::Nil(NilKind::Pointer)) => self.padded(spec, "<nil>"),
            (_, Value::Nil(NilKind::Slice)) => self.out.push_str("[]"),
            (_, Value::Nil(NilKind::Map)) => self.out.push_str("map[]"),
            (_, Value::List(list)) => {
                self.out.push('[');
                self.sequence(spec, verb, list.items.iter().map(|item| (None, item)));
                self.out.push(']');
            }
            (_, Value::Map(map)) => {
                self.out.push_str("map[");
                let entries = map.entries.iter().map(|(key, item)| (Some(key.as_str()), item));
                self.sequence(spec, verb, entries);
                self.out.push(']');
            }
            (_, Value::Struct(record)) => {
                self.out.push('{');
                let named = |(key, item)| (spec.plus.then_some(key), item);
                self.sequence(spec, verb, record.values().map(named));
                self.out.push('}');
            }
        }
    }

    fn sequence<'v>(
        &mut self,
        spec: Spec,
        verb: char,
        items: impl Iterator<Item = (Option<&'v str>, &'v Value)>,
    ) {
        for (i, (key, item)) in items.enumerate() {
            if i > 0 {
                self.out.push(' ');
            }
            if let Some(key) = key {
                self.push(format_args!("{key}:"));
            }
            match item {
                // Inside a container Go writes a null plainly, whatever the verb.
                Value::Missing | Value::Null => self.padded(spec, "<nil>"),
                _ => self.value(spec, verb, item),
            }
        }
    }

    fn bad(&mut self, verb: char, value: &Value) {
        let (kind, shown) = (value.type_name(), print::nested(value));
        self.push(format_args!("%!{verb}({kind}={shown})"));
    }

    fn padded(&mut self, spec: Spec, text: &str) {
        let fill = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
        if spec.minus {
            self.out.push_str(text);
        }
        self.out.extend(std::iter::repeat_n(' ', fill));
        if !spec.minus {
            self.out.push_str(text);
        }
    }

    fn int(&mut self, spec: Spec, verb: char, n: i64) {
        let magnitude = n.unsigned_abs();
        let (prefix, digits) = match verb {
            'd' | 'v' => ("", magnitude.to_string()),
            'b' => (if spec.sharp { "0b" } else { "" }, format!("{magnitude:b}")),
            'o' => (if spec.sharp { "0" } else { "" }, format!("{magnitude:o}")),
            'O' => ("0o", format!("{magnitude:o}")),
            'x' => (if spec.sharp { "0x" } else { "" }, format!("{magnitude:x}")),
            'X' => (if spec.sharp { "0X" } else { "" }, format!("{magnitude:X}")),
            'c' => return self.padded(spec, &character(n).to_string()),
            'q' => {
                let keep = if spec.plus { Keep::Ascii } else { Keep::Unicode };
                let text = literal::quote_with(&character(n).to_string(), '\'', keep);
                return self.padded(spec, &text);
            }
            'U' if spec.sharp => return self.padded(spec, &literal::unicode_name(character(n))),
            'U' => return self.padded(spec, &format!("U+{magnitude:04X}")),
            _ => return self.bad(verb, &Value::Int(n)),
        };
        let sign = sign(spec, n < 0);
        let least = match (spec.precision, spec.width) {
            (Some(precision), _) => precision,
            (None, Some(width)) if spec.zero && !spec.minus => {
                width.saturating_sub(sign.len() + if verb == 'd' { 0 } else { prefix.len() })
            }
            _ => 0,
        };
        let digits = if spec.precision == Some(0) && n == 0 { String::new() } else { digits };
        let zeros = "0".repeat(least.saturating_sub(digits.len()));
        self.padded(spec, &format!("{sign}{prefix}{zeros}{digits}"));
    }

    fn float(&mut self, spec: Spec, verb: char, n: f64) {
        let text = match (verb, spec.precision) {
            ('v' | 'g' | 'G', None) => number::shortest(n, number::GENERAL),
            ('v' | 'g' | 'G', Some(precision)) => number::general_with(n, precision),
            ('e' | 'E', precision) => number::scientific(n, precision.or(Some(6))),
            ('f' | 'F', precision) => number::fixed(n, precision.or(Some(6))),
            _ => return self.bad(verb, &Value::Float(n)),
        };
        let text = if verb.is_ascii_uppercase() { text.to_uppercase() } else { text };
        let negative = text.starts_with('-');
        let digits = text.trim_start_matches(['-', '+']);
        let sign = sign(spec, negative);
        let fill = match spec.width {
            Some(width) if spec.zero && !spec.minus && n.is_finite() => {
                "0".repeat(width.saturating_sub(sign.len() + digits.len()))
            }
            _ => String::new(),
        };
        self.padded(spec, &format!("{sign}{fill}{digits}"));
    }

    fn text(&mut self, spec: Spec, verb: char, value: &Value, text: &str) {
        let cut: String = match spec.precision {
            Some(precision) if !matches!(verb, 'x' | 'X') => text.chars().take(precision).collect(),
            _ => text.to_owned(),
        };
        let shown = match verb {
            's' | 'v' => cut,
            'q' if spec.sharp && can_backquote(&cut) => format!("`{cut}`"),
            'q' if spec.plus => literal::quote_with(&cut, '"', Keep::Ascii),
            'q' => literal::quote(&cut),
            'x' | 'X' => hex(spec, verb, text),
            _ => return self.bad(verb, value),
        };
        self.padded(spec, &shown);
    }
}

fn sign(spec: Spec, negative: bool) -> &'static str {
    match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    }
}

fn character(n: i64) -> char {
    u32::try_from(n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn can_backquote(text: &str) -> bool {
    text.chars().all(|c| c == '\t' || (c != '`' && c != '\u{feff}' && !c.is_control()))
}

fn hex(spec: Spec, verb: char, text: &str) -> String {
    let count = spec.precision.unwrap_or(text.len()).min(text.len());
    let prefix = if spec.sharp { "0x" } else { "" };
    let pairs: Vec<String> = text.bytes().take(count).map(|byte| format!("{byte:02x}")).collect();
    let joined = if spec.space {
        pairs.iter().map(|pair| format!("{prefix}{pair}")).collect::<Vec<_>>().join(" ")
    } else if pairs.is_empty() {
        String::new()
    } else {
        format!("{prefix}{}", pairs.concat())
    };
    if verb == 'X' { joined.to_uppercase() } else { joined }
}

fn flags<'t>(text: &'t str, spec: &mut Spec) -> &'t str {
    for (at, c) in text.char_indices() {
        match c {
            '#' => spec.sharp = true,
            '0' => spec.zero = true,
            '+' => spec.plus = true,
            '-' => spec.minus = true,
            ' ' => spec.space = true,
            _ => return &text[at..],
        }
    }
    ""
}

fn digits(text: &str) -> (Option<usize>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().ok().filter(|n| *n <= MAX_WIDTH), &text[end..])
}

/// `%#v`: the value in Go syntax.
fn syntax(value: &Value) -> String {
    match value {
        Value::Missing | Value::Null => "<nil>".to_owned(),
        Value::Nil(NilKind::Pointer) => format!("({})(nil)", value.type_name()),
        Value::Nil(NilKind::Slice | NilKind::Map) => format!("{}(nil)", value.type_name()),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => print::nested(value),
        Value::Str(text) | Value::Number(text) => literal::quote(text),
        Value::List(list) => {
            let items: Vec<String> = list.items.iter().map(|v| element(v, list.elem)).collect();
            format!("{}{{{}}}", value.type_name(), items.join(", "))
        }
        Value::Map(map) => {
            let one = |(key, v): (&String, &Value)| {
                format!("{}:{}", literal::quote(key), element(v, map.elem))
            };
            let items: Vec<String> = map.entries.iter().map(one).collect();
            format!("{}{{{}}}", value.type_name(), items.join(", "))
        }
        Value::Struct(record) => {
            let one = |(key, v): (&str, &Value)| format!("{key}:{}", syntax(v));
            let items: Vec<String> = record.values().map(one).collect();
            format!("{}{{{}}}", record.type_name, items.join(", "))
        }
    }
}

fn element(value: &Value, elem: Elem) -> String {
    match (value, elem) {
        (Value::Missing | Value::Null, Elem::Any) => "interface {}(nil)".to_owned(),
        _ => syntax(value),
    }
}
