//! Numbers: integers as Go's strconv reads them, sizes as go-units does, fractions of CPUs.

use std::str::FromStr;

const BINARY: &[(u8, f64)] = &[
    (b'k', 1024.0),
    (b'm', 1_048_576.0),
    (b'g', 1_073_741_824.0),
    (b't', 1_099_511_627_776.0),
    (b'p', 1_125_899_906_842_624.0),
];

/// An integer in base 10, or with a prefix in 16, 8 or 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Int(pub(crate) i64);

impl FromStr for Int {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = |what| format!("strconv.ParseInt: parsing {}: {what}", quote(text));
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let magnitude = unsigned(digits).map_err(fail)?;
        let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
        i64::try_from(value).map(Self).map_err(|_| fail("value out of range"))
    }
}

/// An integer of 16 bits without a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uint16(pub(crate) u16);

impl FromStr for Uint16 {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = |what| format!("strconv.ParseUint: parsing {}: {what}", quote(text));
        let value = unsigned(text).map_err(fail)?;
        u16::try_from(value).map(Self).map_err(|_| fail("value out of range"))
    }
}

fn quote(text: &str) -> String {
    crate::template::literal::quote(text)
}

fn unsigned(text: &str) -> Result<u64, &'static str> {
    let (radix, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..]),
        [b'0', b'o' | b'O', ..] => (8, &text[2..]),
        [b'0', b'b' | b'B', ..] => (2, &text[2..]),
        [b'0', _, ..] => (8, &text[1..]),
        _ => (10, text),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err("invalid syntax");
    }
    u64::from_str_radix(digits, radix).map_err(|_| "value out of range")
}

/// A number of bytes: `10m`, `1.5GiB`, `512`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) i64);

impl FromStr for Bytes {
    type Err = String;

    #[expect(clippy::cast_possible_truncation, reason = "saturates, as sizes above 8 EiB may")]
    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid size: '{text}'");
        let last = text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '));
        let at = last.ok_or_else(invalid)?;
        let number = if text[at..].starts_with(' ') { &text[..at] } else { &text[..=at] };
        let suffix = &text[at + 1..];
        let size: f64 = number.parse().map_err(|_| {
            format!("strconv.ParseFloat: parsing {}: invalid syntax", quote(number))
        })?;
        if size < 0.0 {
            return Err(invalid());
        }
        let unit =
            unit(suffix).ok_or_else(|| format!("invalid suffix: '{}'", bad_suffix(suffix)))?;
        Ok(Self((size * unit) as i64))
    }
}

/// Docker lowers a suffix before it objects to it, unless it is too long to be looked at.
fn bad_suffix(suffix: &str) -> String {
    if suffix.len() > 3 { suffix.to_owned() } else { suffix.to_lowercase() }
}

fn unit(suffix: &str) -> Option<f64> {
    let lower = suffix.to_ascii_lowercase();
    let factor = |letter| BINARY.iter().find(|(known, _)| *known == letter).map(|(_, f)| *f);
    match lower.as_bytes() {
        [] | [b'b'] => Some(1.0),
        [letter] | [letter, b'b'] | [letter, b'i', b'b'] => factor(*letter),
        _ => None,
    }
}

/// The same, where -1 stands for unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SwapBytes(pub(crate) i64);

impl FromStr for SwapBytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-1" {
            return Ok(Self(-1));
        }
        Bytes::from_str(text).map(|bytes| Self(bytes.0))
    }
}

/// CPUs in billionths: `1.5`, `1/2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NanoCpus(pub(crate) i64);

impl FromStr for NanoCpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rational =
            rational(text).ok_or_else(|| format!("failed to parse {text} as a rational number"))?;
        let nano = rational.0.checked_mul(1_000_000_000).ok_or("value is too large")?;
        if nano % rational.1 != 0 {
            return Err("value is too precise".to_owned());
        }
        i64::try_from(nano / rational.1).map(Self).map_err(|_| "value is too large".to_owned())
    }
}

/// Numerator and denominator of a decimal, perhaps with an exponent, or of a fraction.
fn rational(text: &str) -> Option<(i128, i128)> {
    if let Some((top, bottom)) = text.split_once('/') {
        let bottom: i128 = bottom.parse().ok()?;
        return (bottom > 0).then_some((top.parse().ok()?, bottom));
    }
    let (decimal, exponent) = match text.split_once(['e', 'E']) {
        Some((decimal, exponent)) => (decimal, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let digits = format!("{whole}{fraction}");
    if !digits.bytes().any(|b| b.is_ascii_digit()) || fraction.starts_with(['-', '+']) {
        return None;
    }
    let value: i128 = digits.parse().ok()?;
    let shift = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 { Some((value, power)) } else { Some((value.checked_mul(power)?, 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, want) in [
            ("0", 0),
            ("10", 10),
            ("10b", 10),
            ("10K", 10240),
            ("10kb", 10240),
            ("10KiB", 10240),
            ("10 m", 10_485_760),
            ("1.5g", 1_610_612_736),
            ("1t", 1 << 40),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(want)), "{text}");
        }
        for (text, want) in [
            ("abc", "invalid size: 'abc'"),
            ("", "invalid size: ''"),
            ("-1", "invalid size: '-1'"),
            ("1x", "invalid suffix: 'x'"),
            ("1MIBI", "invalid suffix: 'MIBI'"),
            ("1kx", "invalid suffix: 'kx'"),
            ("1.2.3", "strconv.ParseFloat: parsing \"1.2.3\": invalid syntax"),
        ] {
            assert_eq!(text.parse::<Bytes>(), Err(want.to_owned()), "{text}");
        }
        assert_eq!("-1".parse(), Ok(SwapBytes(-1)));
        assert_eq!("-2".parse::<SwapBytes>(), Err("invalid size: '-2'".to_owned()));
    }

    #[test]
    fn cpus() {
        for (text, want) in [
            ("1.5", 1_500_000_000),
            (".5", 500_000_000),
            ("1/2", 500_000_000),
            ("1e2", 100_000_000_000),
            ("-1", -1_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(NanoCpus(want)), "{text}");
        }
        for (text, want) in [
            ("abc", "failed to parse abc as a rational number"),
            ("", "failed to parse  as a rational number"),
            ("1/0", "failed to parse 1/0 as a rational number"),
            ("0.0000000001", "value is too precise"),
        ] {
            assert_eq!(text.parse::<NanoCpus>(), Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn integers() {
        assert_eq!("0x10".parse(), Ok(Int(16)));
        assert_eq!("-010".parse(), Ok(Int(-8)));
        for (text, want) in [
            ("x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
            ("", "strconv.ParseInt: parsing \"\": invalid syntax"),
            (
                "99999999999999999999",
                "strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
            ),
        ] {
            assert_eq!(text.parse::<Int>(), Err(want.to_owned()));
        }
        assert_eq!(
            "70000".parse::<Uint16>(),
            Err("strconv.ParseUint: parsing \"70000\": value out of range".to_owned())
        );
    }
}
