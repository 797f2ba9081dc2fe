//! Floating point numbers as Go's strconv writes them.

/// The exponent from which `%v` and `%g` write one.
pub(super) const GENERAL: i32 = 6;
/// The same for JSON.
pub(super) const JSON: i32 = 21;
/// No number has more digits than this; what is asked for beyond are zeros. Rust's own formatting
/// panics above 65,535.
const DIGITS: usize = 1100;

/// `%g`, shortest: an exponent below -4 or from `threshold` on is written as one.
pub(super) fn shortest(value: f64, threshold: i32) -> String {
    if let Some(special) = special(value) {
        return special;
    }
    let (sign, digits, exponent) = parts(&format!("{value:e}"));
    general(sign, &digits, exponent, threshold)
}

/// `%g` with a precision.
pub(super) fn general_with(value: f64, precision: usize) -> String {
    if let Some(special) = special(value) {
        return special;
    }
    let precision = precision.max(1);
    let (sign, digits, exponent) = parts(&format!("{value:.*e}", (precision - 1).min(DIGITS)));
    let kept = digits.trim_end_matches('0');
    let kept = if kept.is_empty() { "0" } else { kept };
    general(sign, kept, exponent, i32::try_from(precision).unwrap_or(i32::MAX))
}

/// `%e`, with at least two digits of exponent.
pub(super) fn scientific(value: f64, precision: Option<usize>) -> String {
    if let Some(special) = special(value) {
        return special;
    }
    let text = match precision {
        Some(precision) => format!("{value:.*e}", precision.min(DIGITS)),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let zeros = zeros_beyond(precision);
    format!("{mantissa}{zeros}e{}", signed_exponent(exponent.parse().unwrap_or(0)))
}

/// `%f`.
pub(super) fn fixed(value: f64, precision: Option<usize>) -> String {
    special(value).unwrap_or_else(|| match precision {
        Some(precision) => {
            format!("{value:.*}", precision.min(DIGITS)) + &zeros_beyond(Some(precision))
        }
        None => format!("{value}"),
    })
}

/// What a precision asks for beyond the digits of any number.
fn zeros_beyond(precision: Option<usize>) -> String {
    "0".repeat(precision.unwrap_or(0).saturating_sub(DIGITS))
}

fn special(value: f64) -> Option<String> {
    if value.is_nan() {
        return Some("NaN".to_owned());
    }
    value.is_infinite().then(|| if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned())
}

fn parts(text: &str) -> (&'static str, String, i32) {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    (sign, mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

fn signed_exponent(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{:02}", exponent.unsigned_abs())
}

fn general(sign: &str, digits: &str, exponent: i32, threshold: i32) -> String {
    if exponent < -4 || exponent >= threshold {
        let (head, tail) = digits.split_at(1);
        let point = if tail.is_empty() { "" } else { "." };
        return format!("{sign}{head}{point}{tail}e{}", signed_exponent(exponent));
    }
    if exponent < 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = exponent.unsigned_abs() as usize + 1;
    if digits.len() <= whole {
        return format!("{sign}{digits}{}", "0".repeat(whole - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_precision_is_written_out() {
        let half = "5".to_owned() + &"0".repeat(69_999);
        assert_eq!(fixed(0.5, Some(70_000)), format!("0.{half}"));
        assert_eq!(scientific(1.5, Some(70_000)), format!("1.{half}e+00"));
        assert_eq!(general_with(0.5, 70_000), "0.5");
        assert_eq!(fixed(f64::MIN_POSITIVE, Some(70_000)).len(), 70_002);
    }

    #[test]
    fn shortest_is_go_v() {
        for (value, text) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (-2.25, "-2.25"),
            (1000.0, "1000"),
            (123_456.0, "123456"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1.25e30, "1.25e+30"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(shortest(value, GENERAL), text);
        }
        assert_eq!(shortest(1e20, JSON), "100000000000000000000");
        assert_eq!(shortest(1e6, GENERAL), "1e+06");
    }

    #[test]
    fn precision_and_forms() {
        assert_eq!(general_with(1.98e6, 4), "1.98e+06");
        assert_eq!(general_with(1.9849, 4), "1.985");
        assert_eq!(general_with(100_000.0, 3), "1e+05");
        assert_eq!(scientific(1234.5, Some(2)), "1.23e+03");
        assert_eq!(scientific(0.00012, None), "1.2e-04");
        assert_eq!(fixed(1.5, Some(2)), "1.50");
    }
}
