//! Points in time: `--since` and `--until` take RFC 3339 or parts of it, seconds since 1970, or a
//! duration back from now.

use crate::duration::{Nanos, quote};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Now, and where we are.
#[derive(Clone, Debug)]
pub struct Reference {
    /// What durations are counted back from.
    pub now: Timestamp,
    /// What a time without a zone is in.
    pub zone: TimeZone,
}

/// Turns `text` into what the API takes: seconds, or seconds and nine digits of nanoseconds.
///
/// # Errors
/// It is neither a time nor a duration; one line in Docker's words.
pub fn stamp(text: &str, reference: &Reference) -> Result<String, String> {
    if text != "0"
        && let Ok(Nanos(back)) = text.parse()
    {
        let now = reference.now.as_nanosecond();
        return Ok((now - i128::from(back)).div_euclid(1_000_000_000).to_string());
    }
    if let Some(time) = date(text, reference) {
        let nanos = time.as_nanosecond();
        let (seconds, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        return Ok(format!("{seconds}.{rest:09}"));
    }
    let (seconds, nanos) = text.split_once('.').unwrap_or((text, "0"));
    let numbers = seconds.parse::<i64>().is_ok() && nanos.bytes().all(|b| b.is_ascii_digit());
    if numbers && !text.contains('-') {
        return Ok(text.to_owned());
    }
    let quoted = quote(text);
    Err(format!("failed to parse value as time or duration: {quoted}"))
}

/// The point in time that `text` means.
///
/// # Errors
/// As [`stamp`].
pub fn moment(text: &str, reference: &Reference) -> Result<Timestamp, String> {
    let stamp = stamp(text, reference)?;
    let (seconds, nanos) = stamp.split_once('.').unwrap_or((&stamp, "0"));
    let nanos = format!("{nanos:0<9}");
    let time = seconds.parse().ok().zip(nanos.get(..9).and_then(|digits| digits.parse().ok()));
    let time = time.and_then(|(seconds, nanos)| Timestamp::new(seconds, nanos).ok());
    time.ok_or_else(|| format!("failed to parse value as time or duration: {}", quote(text)))
}

fn date(text: &str, reference: &Reference) -> Option<Timestamp> {
    if !text.contains('-') {
        return None;
    }
    let complete = complete(text)?;
    if let Ok(time) = complete.parse::<Timestamp>() {
        return Some(time);
    }
    let local: DateTime = complete.parse().ok()?;
    let zoned = local.to_zoned(reference.zone.clone()).ok()?;
    Some(zoned.timestamp())
}

/// Adds the parts of a time that were left out: `2013-01-02`, `2013-01-02T15`, `…T15:04Z`.
fn complete(text: &str) -> Option<String> {
    let (day, time) = text.split_at_checked(10)?;
    let (clock, zone) = match time.strip_prefix('T') {
        None => ("", time),
        Some(time) => time.split_at(time.find(['z', 'Z', '+', '-']).unwrap_or(time.len())),
    };
    let clock = match (clock, clock.matches(':').count()) {
        ("", _) => "00:00:00".to_owned(),
        (_, 0) => format!("{clock}:00:00"),
        (_, 1) => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    Some(format!("{day}T{clock}{}", zone.to_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Result<&str, &str>) {
        let reference = Reference {
            now: Timestamp::from_second(1_000_000).unwrap(),
            zone: TimeZone::fixed(jiff::tz::offset(2)),
        };
        let want = want.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(stamp(text, &reference), want, "{text}");
    }

    #[test]
    fn all_forms() {
        check("10m", Ok("999400"));
        check("1.5h", Ok("994600"));
        check("0", Ok("0"));
        check("1136073600.000000001", Ok("1136073600.000000001"));
        check("2013-01-02T13:23:37Z", Ok("1357133017.000000000"));
        check("2013-01-02T13:23:37.5+01:00", Ok("1357129417.500000000"));
        check("2013-01-02T13:23Z", Ok("1357132980.000000000"));
        check("2013-01-02T13Z", Ok("1357131600.000000000"));
        check("2013-01-02Z", Ok("1357084800.000000000"));
        check("2013-01-02T13:23:37", Ok("1357125817.000000000"));
        check("2013-01-02", Ok("1357077600.000000000"));
    }

    #[test]
    fn a_moment_is_what_the_stamp_says() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let reference = Reference { now, zone: TimeZone::UTC };
        for (text, nanos) in [
            ("10m", 999_400_000_000_000),
            ("5.5", 5_500_000_000),
            ("1970-01-01T00:00:01Z", 1_000_000_000_i128),
        ] {
            assert_eq!(moment(text, &reference).unwrap().as_nanosecond(), nanos, "{text}");
        }
        assert!(moment("99999999999999", &reference).is_err());
    }

    #[test]
    fn what_is_no_time() {
        for text in ["", "foo", "2013-13-02", "1-2", "1.x"] {
            check(text, Err(&format!("failed to parse value as time or duration: \"{text}\"")));
        }
    }
}
