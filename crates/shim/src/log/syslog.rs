//! How a syslog message looks: RFC 3164, RFC 5424, and what programs of the same host write.
//!
//! The shapes are those that Docker's driver writes; times are local ones.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::log::SyslogFormat;

use super::stamp::NANOS_PER_SECOND;
use crate::protocol::StreamKind;

/// Severities.
const ERROR: u8 = 3;
const INFORMATION: u8 = 6;

/// What is written in front of each message.
#[derive(Debug)]
pub(super) struct SyslogForm {
    facility: u8,
    format: SyslogFormat,
    zone: TimeZone,
    /// What stands between the time and the text.
    middle: String,
    /// The second that `time` is of, and its text.
    second: i64,
    time: String,
    /// What follows the fraction of a second.
    offset: String,
}

/// Who sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender<'s> {
    pub(super) tag: &'s str,
    pub(super) host: &'s str,
    pub(super) process: u32,
}

impl SyslogForm {
    pub(super) fn new(
        facility: u8,
        format: SyslogFormat,
        zone: TimeZone,
        from: Sender<'_>,
    ) -> Self {
        let Sender { tag, host, process } = from;
        // A label in a tag is the image's word, and must not begin a message of its own.
        let tag: String = tag.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let middle = match format {
            SyslogFormat::Local => format!(" {tag}[{process}]: "),
            SyslogFormat::Rfc3164 => format!(" {host} {tag}[{process}]: "),
            SyslogFormat::Rfc5424 | SyslogFormat::Rfc5424Micro => {
                format!(" {host} {tag} {process} {tag} - ")
            }
        };
        let (second, time, offset) = (i64::MIN, String::new(), String::new());
        Self { facility, format, zone, middle, second, time, offset }
    }

    pub(super) fn begin(&mut self, stream: StreamKind, time: i64, out: &mut Vec<u8>) {
        let severity = match stream {
            StreamKind::Stdout => INFORMATION,
            StreamKind::Stderr => ERROR,
        };
        let priority = u16::from(self.facility) * 8 + u16::from(severity);
        let (second, nanos) =
            (time.div_euclid(NANOS_PER_SECOND), time.rem_euclid(NANOS_PER_SECOND));
        if second != self.second {
            self.change_second(second);
        }
        let fraction = match self.format {
            SyslogFormat::Rfc5424Micro => format!(".{:06}", nanos / 1000),
            SyslogFormat::Local | SyslogFormat::Rfc3164 | SyslogFormat::Rfc5424 => String::new(),
        };
        let version = match self.format {
            SyslogFormat::Local | SyslogFormat::Rfc3164 => "",
            SyslogFormat::Rfc5424 | SyslogFormat::Rfc5424Micro => "1 ",
        };
        let (time, offset, middle) = (&self.time, &self.offset, &self.middle);
        let head = format!("<{priority}>{version}{time}{fraction}{offset}{middle}");
        out.extend_from_slice(head.as_bytes());
    }

    fn change_second(&mut self, second: i64) {
        // Out of range only if the clock is absurd.
        let time = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
        let zoned = time.to_zoned(self.zone.clone());
        self.second = second;
        match self.format {
            SyslogFormat::Local | SyslogFormat::Rfc3164 => {
                self.time = zoned.strftime("%b %e %H:%M:%S").to_string();
            }
            SyslogFormat::Rfc5424 | SyslogFormat::Rfc5424Micro => {
                self.time = zoned.strftime("%Y-%m-%dT%H:%M:%S").to_string();
                self.offset = match zoned.strftime("%:z").to_string() {
                    utc if utc == "+00:00" => "Z".to_owned(),
                    offset => offset,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(format: SyslogFormat, zone: TimeZone, stream: StreamKind) -> String {
        let from = Sender { tag: "web", host: "ship", process: 7 };
        let mut form = SyslogForm::new(3, format, zone, from);
        let mut out = Vec::new();
        // 2026-11-05T02:02:07.000820Z
        form.begin(stream, 1_793_844_127_000_820_999, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_format_is_written_as_docker_does() {
        let utc = |format| message(format, TimeZone::UTC, StreamKind::Stdout);
        assert_eq!(utc(SyslogFormat::Local), "<30>Nov  5 02:02:07 web[7]: ");
        assert_eq!(utc(SyslogFormat::Rfc3164), "<30>Nov  5 02:02:07 ship web[7]: ");
        assert_eq!(utc(SyslogFormat::Rfc5424), "<30>1 2026-11-05T02:02:07Z ship web 7 web - ");
        let east = TimeZone::fixed(jiff::tz::offset(5));
        assert_eq!(
            message(SyslogFormat::Rfc5424Micro, east, StreamKind::Stderr),
            "<27>1 2026-11-05T07:02:07.000820+05:00 ship web 7 web - "
        );
        let from = Sender { tag: "a\n<0>b\0", host: "ship", process: 7 };
        let mut form = SyslogForm::new(3, SyslogFormat::Local, TimeZone::UTC, from);
        let mut out = Vec::new();
        form.begin(StreamKind::Stdout, 0, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "<30>Jan  1 00:00:00 a?<0>b?[7]: ");
    }
}
