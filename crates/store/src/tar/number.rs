//! Numbers in tar headers: octal text, GNU's base-256, PAX decimals and times.
//!
//! Pure. A field that is no number is `None`, never 0: a size read as 0 would turn data into
//! headers.

use super::Time;

/// Reads a header field: octal text, ended by a space or NUL, or base-256 if the top bit is set.
/// An empty field is 0, as every tar has it.
pub(super) fn parse(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => parse_binary(field),
        _ => parse_octal(field),
    }
}

/// As [`parse`], without negative numbers.
pub(super) fn parse_unsigned(field: &[u8]) -> Option<u64> {
    parse(field).and_then(|value| u64::try_from(value).ok())
}

fn parse_octal(field: &[u8]) -> Option<i64> {
    let start = field.iter().position(|&byte| byte != b' ' && byte != 0).unwrap_or(field.len());
    let mut value: i64 = 0;
    for &byte in &field[start..] {
        match byte {
            b'0'..=b'7' => value = value.checked_mul(8)?.checked_add(i64::from(byte - b'0'))?,
            0 | b' ' => break,
            _ => return None,
        }
    }
    Some(value)
}

/// Two's complement, big endian; the first byte's top bit is the mark, the next one the sign.
fn parse_binary(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] } else { field[0] & 0x7f };
    let mut value: i128 = if negative { -1 } else { 0 };
    for byte in std::iter::once(first).chain(field[1..].iter().copied()) {
        value = (value << 8) | i128::from(byte);
        // The value of the longest field still fits once it has been found to be out of range.
        if !(-(1 << 100)..1 << 100).contains(&value) {
            return None;
        }
    }
    i64::try_from(value).ok()
}

/// Writes octal text with a final NUL; `None` if it does not fit.
pub(super) fn write_octal(field: &mut [u8], value: u64) -> Option<()> {
    let digits = field.len() - 1;
    if digits < 22 && value >> (3 * digits) != 0 {
        return None;
    }
    let mut rest = value;
    for byte in field[..digits].iter_mut().rev() {
        *byte = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
    field[digits] = 0;
    Some(())
}

/// A PAX decimal number without sign: digits alone, up to 2⁶³ − 1.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    let mut value: u64 = 0;
    for &byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    (value <= i64::MAX as u64).then_some(value)
}

/// A PAX time: seconds with an optional sign and fraction. Digits below a nanosecond are cut off,
/// towards the past for negative times, as the kernel counts nanoseconds upwards.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &text[text.len()..]),
    };
    let secs = i64::try_from(decimal(whole)?).ok()?;
    let nanos = nanos(fraction)?;
    Some(match (negative, nanos) {
        (false, nanos) => Time { secs, nanos },
        (true, 0) => Time { secs: -secs, nanos: 0 },
        (true, nanos) => Time { secs: -secs - 1, nanos: 1_000_000_000 - nanos },
    })
}

fn nanos(fraction: &[u8]) -> Option<u32> {
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    Some(digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
}

/// The PAX form of a time, the inverse of [`time`].
pub(super) fn format_time(time: Time) -> String {
    let (sign, secs, nanos) = match (time.secs < 0, time.nanos) {
        (false, nanos) => ("", time.secs, nanos),
        (true, 0) => ("", time.secs, 0),
        (true, nanos) => ("-", -(time.secs + 1), 1_000_000_000 - nanos),
    };
    if nanos == 0 {
        return format!("{sign}{secs}");
    }
    let fraction = format!("{nanos:09}");
    format!("{sign}{secs}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn octal_fields() {
        let cases: [(&[u8], Option<i64>); 12] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644 junk", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777777", Some(0o77_777_777_777)),
            (b"0000648\0", None),
            (b"-1\0", None),
            (b"+1\0", None),
            (b"0x12\0", None),
            (b"777777777777777777777", Some(i64::MAX)),
            (b"1777777777777777777777", None),
        ];
        for (field, value) in cases {
            assert_eq!(parse(field), value, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn binary_fields() {
        assert_eq!(parse(b"\x80\0\0\0\0\0\0\0\x02\0\0\0"), Some(1 << 25));
        assert_eq!(parse(&[0xff; 12]), Some(-1));
        assert_eq!(parse(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0"), Some(-256));
        assert_eq!(parse(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"), Some(i64::MAX));
        assert_eq!(parse(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), None);
        assert_eq!(parse(b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(parse(b"\xc0\0\0\0\0\0\0\0\0\0\0\0"), None);
        assert_eq!(parse_unsigned(&[0xff; 12]), None);
    }

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"9223372036854775807"), Some(i64::MAX as u64));
        for bad in ["", "9223372036854775808", "-1", "+1", " 1", "1 ", "0x1", "1e3", "1_0"] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn times() {
        let cases = [
            ("0", (0, 0)),
            ("1.5", (1, 500_000_000)),
            ("-1", (-1, 0)),
            ("-0.5", (-1, 500_000_000)),
            ("-1.25", (-2, 750_000_000)),
            ("1.0000000019", (1, 1)),
            ("1.", (1, 0)),
        ];
        for (text, (secs, nanos)) in cases {
            assert_eq!(time(text.as_bytes()), Some(Time { secs, nanos }), "{text}");
        }
        for bad in ["", ".5", "nan", "inf", "1e9", "--1", "1.-5", "1.5.5", "99999999999999999999"] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn octal_round_trip(value in 0u64..1 << 33) {
            let mut field = [0; 12];
            prop_assert_eq!(write_octal(&mut field, value), Some(()));
            prop_assert_eq!(parse_unsigned(&field), Some(value));
        }

        #[test]
        fn time_round_trip(secs in -(1i64 << 40)..1 << 40, nanos in 0u32..1_000_000_000) {
            let value = Time { secs, nanos };
            prop_assert_eq!(time(format_time(value).as_bytes()), Some(value));
        }

        #[test]
        fn any_field_is_answered(field in proptest::collection::vec(any::<u8>(), 1..16)) {
            let _ = parse(&field);
        }
    }
}
