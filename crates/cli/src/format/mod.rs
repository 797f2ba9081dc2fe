//! What the columns of each resource are.
//!
//! Pure: replies of the server to rows. Times are told by a clock that is handed in.

pub(crate) mod containers;
pub(crate) mod contexts;
pub(crate) mod events;
pub(crate) mod firewall;
pub(crate) mod history;
pub(crate) mod image_tree;
pub(crate) mod images;
pub(crate) mod info;
pub(crate) mod networks;
pub(crate) mod search;
pub(crate) mod stats;
pub(crate) mod usage;
pub(crate) mod volumes;

use crate::human;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Tells how long ago something was, and when.
pub(crate) struct Clock {
    pub(crate) now: Timestamp,
    pub(crate) zone: TimeZone,
}

impl Clock {
    /// `3 minutes ago`, of seconds since 1970.
    pub(crate) fn ago(&self, seconds: i64) -> String {
        let nanos = self.now.as_nanosecond() - i128::from(seconds) * 1_000_000_000;
        format!("{} ago", human::duration(nanos))
    }

    /// `2026-11-21 22:33:39 +0000 UTC`, of seconds since 1970.
    pub(crate) fn date(&self, seconds: i64) -> String {
        match Timestamp::from_second(seconds) {
            Ok(time) => go_time(&time.to_zoned(self.zone.clone())),
            Err(_) => seconds.to_string(),
        }
    }
}

/// A time as Go prints it.
pub(crate) fn go_time(time: &jiff::Zoned) -> String {
    let date = time.strftime("%Y-%m-%d %H:%M:%S");
    let nanos = time.subsec_nanosecond();
    let fraction = if nanos == 0 {
        String::new()
    } else {
        format!(".{nanos:09}").trim_end_matches('0').to_owned()
    };
    let offset = time.strftime("%z").to_string();
    let zone = match time.strftime("%Z").to_string() {
        zone if offset == "+0000" && !zone.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            "UTC".to_owned()
        }
        zone if zone.starts_with(|c: char| c.is_ascii_alphabetic()) => zone,
        // An offset without a name is its own name.
        _ => offset.clone(),
    };
    format!("{date}{fraction} {offset} {zone}")
}

/// A time of the API, as Go prints it; what is no time is left alone.
pub(crate) fn api_time(text: &str) -> String {
    let Ok(time) = text.parse::<Timestamp>() else { return text.to_owned() };
    let offset = jiff::fmt::temporal::Pieces::parse(text)
        .ok()
        .and_then(|pieces| pieces.to_numeric_offset())
        .unwrap_or(jiff::tz::Offset::UTC);
    go_time(&time.to_zoned(TimeZone::fixed(offset)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Half past ten in UTC.
    pub(crate) fn clock() -> Clock {
        Clock { now: "2026-01-01T10:30:00Z".parse().unwrap(), zone: TimeZone::UTC }
    }

    #[test]
    fn times() {
        let clock = clock();
        let now = clock.now.as_second();
        assert_eq!(clock.ago(now - 7200), "2 hours ago");
        assert_eq!(clock.date(now), "2026-01-01 10:30:00 +0000 UTC");
        let east = Clock { zone: TimeZone::fixed(jiff::tz::offset(2)), ..clock };
        assert_eq!(east.date(now), "2026-01-01 12:30:00 +0200 +0200");
        assert_eq!(api_time("2026-01-01T10:20:30.120Z"), "2026-01-01 10:20:30.12 +0000 UTC");
        assert_eq!(
            api_time("2026-01-01T10:20:30.123456789+02:00"),
            "2026-01-01 10:20:30.123456789 +0200 +0200"
        );
        assert_eq!(api_time("x"), "x");
    }
}
