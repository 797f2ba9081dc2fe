//! Durations and sizes for people, exactly as go-units writes them.

use crate::template::general;

/// How long something took or ago it was, in nanoseconds.
pub(crate) fn duration(nanos: i128) -> String {
    let seconds = nanos.div_euclid(1_000_000_000);
    let minutes = seconds / 60;
    // Hours are rounded, as in go-units.
    let hours = (nanos + 1_800_000_000_000).div_euclid(3_600_000_000_000);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// `1.98MB`: thousands, three digits.
pub(crate) fn size(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"], 3)
}

/// `34.61MB`: thousands, four digits, as progress shows it.
pub(crate) fn progress_size(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"], 4)
}

/// `3.21MiB`: powers of 1024, four digits, as memory is shown.
pub(crate) fn binary_size(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"], 4)
}

fn scaled(mut size: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut unit = 0;
    while size >= base && unit + 1 < units.len() {
        size /= base;
        unit += 1;
    }
    format!("{}{}", general(size, digits), units[unit])
}

/// An integer as a float, for sizes; exact up to 2^53, beyond what is shown.
#[expect(clippy::cast_precision_loss, reason = "three or four digits are shown")]
pub(crate) fn float(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        const S: i128 = 1_000_000_000;
        const H: i128 = 3600 * S;
        for (nanos, want) in [
            (S / 2, "Less than a second"),
            (S, "1 second"),
            (45 * S, "45 seconds"),
            (60 * S, "About a minute"),
            (119 * S, "About a minute"),
            (3 * 60 * S, "3 minutes"),
            (59 * 60 * S, "59 minutes"),
            (H, "About an hour"),
            (H + 29 * 60 * S, "About an hour"),
            (H + 30 * 60 * S, "2 hours"),
            (47 * H, "47 hours"),
            (48 * H, "2 days"),
            (13 * 24 * H, "13 days"),
            (14 * 24 * H, "2 weeks"),
            (59 * 24 * H, "8 weeks"),
            (60 * 24 * H, "2 months"),
            (729 * 24 * H, "24 months"),
            (730 * 24 * H, "2 years"),
            (-5 * S, "Less than a second"),
        ] {
            assert_eq!(duration(nanos), want, "{nanos}");
        }
    }

    #[test]
    fn sizes() {
        for (bytes, want) in [
            (0.0, "0B"),
            (999.0, "999B"),
            (1000.0, "1kB"),
            (1_980_000.0, "1.98MB"),
            (77_812_345.0, "77.8MB"),
            (1_234_567_890.0, "1.23GB"),
            // go-units itself does this, and so must we.
            (999_900.0, "1e+03kB"),
        ] {
            assert_eq!(size(bytes), want);
        }
        assert_eq!(binary_size(3_365_928.0), "3.21MiB");
        assert_eq!(binary_size(2_040_109_465.6), "1.9GiB");
        assert_eq!(progress_size(34_612_345.0), "34.61MB");
    }
}
