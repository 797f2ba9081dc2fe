//! What literals are worth: Go's quoted strings, character constants and numbers.
//!
//! Also writes strings the way Go quotes them (`%q`), since messages and `printf` both need it.

use std::fmt::Write as _;

/// A number literal: Go keeps it untyped until it is used, and so do we.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// Fits a signed 64-bit integer.
    Int(i64),
    /// Has a point or an exponent.
    Float(f64),
    /// An integer that fits only unsigned 64 bits; using it is an error.
    TooLarge,
}

/// Reads a number literal; the error is Go's message.
pub(super) fn number(text: &str) -> Result<Number, String> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if let Some(magnitude) = integer(digits) {
        let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
        return Ok(i64::try_from(value).map_or(Number::TooLarge, Number::Int));
    }
    let bad = || format!("illegal number syntax: {}", quote(text));
    if digits.starts_with("0x") || digits.starts_with("0X") {
        let value = hex_float(digits).ok_or_else(bad)?;
        return Ok(Number::Float(if negative { -value } else { value }));
    }
    if !underscores_fit(digits) {
        return Err(bad());
    }
    let value: f64 = text.replace('_', "").parse().map_err(|_| bad())?;
    if !text.contains(['.', 'e', 'E']) {
        return Err(format!("integer overflow: {}", quote(text)));
    }
    if value.is_infinite() {
        return Err(bad());
    }
    Ok(Number::Float(value))
}

/// An unsigned integer in Go's base-0 syntax; none if it is not one or does not fit.
fn integer(text: &str) -> Option<u64> {
    if !underscores_fit(text) {
        return None;
    }
    let bytes = text.as_bytes();
    let (radix, digits) = match (bytes.first()?, bytes.get(1)) {
        (b'0', Some(b'x' | b'X')) => (16, &text[2..]),
        (b'0', Some(b'o' | b'O')) => (8, &text[2..]),
        (b'0', Some(b'b' | b'B')) => (2, &text[2..]),
        (b'0', Some(_)) => (8, &text[1..]),
        _ => (10, text),
    };
    let digits = digits.replace('_', "");
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    u64::from_str_radix(&digits, radix).ok()
}

/// Underscores stand only between digits, or between a base prefix and a digit.
fn underscores_fit(text: &str) -> bool {
    !text.starts_with('_')
        && !text.ends_with('_')
        && !text.contains("__")
        && !text.contains("_.")
        && !text.contains("._")
}

fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text[2..].split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value = 0.0;
    for digit in whole.chars().filter(|c| *c != '_') {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let mut scale = 1.0 / 16.0;
    for digit in fraction.chars().filter(|c| *c != '_') {
        value += f64::from(digit.to_digit(16)?) * scale;
        scale /= 16.0;
    }
    Some(value * 2f64.powi(exponent.replace('_', "").parse().ok()?))
}

/// The value of a character constant with its quotes.
pub(super) fn character(text: &str) -> Result<i64, String> {
    let malformed = || format!("malformed character constant: {text}");
    let inner = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')).ok_or_else(malformed)?;
    let mut chars = inner.chars().peekable();
    let value = match chars.next() {
        Some('\\') => escape(&mut chars, '\'').ok_or_else(|| "invalid syntax".to_owned())?,
        Some(c) => Escaped::Char(c),
        None => return Err("invalid syntax".to_owned()),
    };
    if chars.next().is_some() {
        return Err(malformed());
    }
    Ok(match value {
        Escaped::Char(c) => i64::from(u32::from(c)),
        Escaped::Byte(b) => i64::from(b),
    })
}

/// The text of a string literal, quoted or raw, with its quotes.
pub(super) fn unquote(text: &str) -> Result<String, String> {
    let invalid = || "invalid syntax".to_owned();
    if let Some(raw) = text.strip_prefix('`').and_then(|t| t.strip_suffix('`')) {
        return Ok(raw.replace('\r', ""));
    }
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).ok_or_else(invalid)?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        let piece =
            if c == '\\' { escape(&mut chars, '"').ok_or_else(invalid)? } else { Escaped::Char(c) };
        match piece {
            Escaped::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Escaped::Byte(b) => bytes.push(b),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

enum Escaped {
    Char(char),
    Byte(u8),
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Reads what follows a backslash.
fn escape(chars: &mut Chars<'_>, quote: char) -> Option<Escaped> {
    let c = chars.next()?;
    Some(Escaped::Char(match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' => '\\',
        'x' => return Some(Escaped::Byte(u8::try_from(digits(chars, 2, 16)?).ok()?)),
        'u' => char::from_u32(digits(chars, 4, 16)?)?,
        'U' => char::from_u32(digits(chars, 8, 16)?)?,
        '0'..='7' => {
            let value = c.to_digit(8)? * 64 + digits(chars, 2, 8)?;
            return Some(Escaped::Byte(u8::try_from(value).ok()?));
        }
        c if c == quote => c,
        _ => return None,
    }))
}

fn digits(chars: &mut Chars<'_>, count: usize, radix: u32) -> Option<u32> {
    let mut value = 0u32;
    for _ in 0..count {
        value = value.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)?;
    }
    Some(value)
}

/// `text` as Go's `%q` writes it.
pub fn quote(text: &str) -> String {
    quote_with(text, '"', Keep::Unicode)
}

/// Which characters a quoted string may hold as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// All that can be printed.
    Unicode,
    /// ASCII only (`%+q`).
    Ascii,
}

pub(super) fn quote_with(text: &str, mark: char, keep: Keep) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(mark);
    for c in text.chars() {
        push_escaped(&mut out, c, mark, keep);
    }
    out.push(mark);
    out
}

fn push_escaped(out: &mut String, c: char, mark: char, keep: Keep) {
    if c == mark || c == '\\' {
        out.push('\\');
        out.push(c);
        return;
    }
    let keeps = if c.is_ascii() { is_print(c) } else { keep == Keep::Unicode && is_print(c) };
    if keeps {
        out.push(c);
        return;
    }
    let short = match c {
        '\x07' => 'a',
        '\x08' => 'b',
        '\x0c' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\x0b' => 'v',
        _ => '\0',
    };
    let code = u32::from(c);
    // Writing to a String cannot fail.
    let _ = match code {
        _ if short != '\0' => write!(out, "\\{short}"),
        0..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
        0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Near enough to Go's `unicode.IsPrint`: no controls, no separators but the space.
pub(super) fn is_print(c: char) -> bool {
    !c.is_control()
        && (c == ' ' || !c.is_whitespace())
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e000}'..='\u{f8ff}')
}

/// `c` as Go's `%#U` writes it.
pub(super) fn unicode_name(c: char) -> String {
    let code = u32::from(c);
    if is_print(c) { format!("U+{code:04X} '{c}'") } else { format!("U+{code:04X}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_every_base() {
        for (text, value) in [
            ("0", 0),
            ("-7", -7),
            ("+7", 7),
            ("1_000", 1000),
            ("0x1F", 31),
            ("0b101", 5),
            ("0o17", 15),
            ("017", 15),
        ] {
            assert_eq!(number(text), Ok(Number::Int(value)), "{text}");
        }
        assert_eq!(number("1e3"), Ok(Number::Float(1000.0)));
        assert_eq!(number(".5"), Ok(Number::Float(0.5)));
        assert_eq!(number("0x1p4"), Ok(Number::Float(16.0)));
        assert_eq!(number("18446744073709551615"), Ok(Number::TooLarge));
        assert_eq!(
            number("99999999999999999999"),
            Err("integer overflow: \"99999999999999999999\"".to_owned())
        );
        assert_eq!(number("1__0"), Err("illegal number syntax: \"1__0\"".to_owned()));
    }

    #[test]
    fn characters_and_their_escapes() {
        assert_eq!(character("'a'"), Ok(97));
        assert_eq!(character(r"'\n'"), Ok(10));
        assert_eq!(character(r"'\''"), Ok(39));
        assert_eq!(character(r"'\u00e9'"), Ok(0xe9));
        assert_eq!(character(r"'\xff'"), Ok(255));
        assert_eq!(character("'ab'"), Err("malformed character constant: 'ab'".to_owned()));
    }

    #[test]
    fn strings_and_their_escapes() {
        assert_eq!(unquote(r#""a\tb\x41\u00e9\101\"""#), Ok("a\tbA\u{e9}A\"".to_owned()));
        assert_eq!(unquote("`a\\n`"), Ok("a\\n".to_owned()));
        assert_eq!(unquote(r#""\q""#), Err("invalid syntax".to_owned()));
    }

    #[test]
    fn quoting_is_go_quoting() {
        assert_eq!(quote("a\"\\\n\x01\u{7f}é\u{feff}"), "\"a\\\"\\\\\\n\\x01\\x7fé\\ufeff\"");
        assert_eq!(quote_with("é", '"', Keep::Ascii), "\"\\u00e9\"");
    }
}
