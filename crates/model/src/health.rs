//! Health checks: what is asked for, how a container is, and what the last checks said.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::duration::Nanos;

/// How many results are remembered.
pub const REMEMBERED: usize = 5;
/// How many bytes of a check's output are.
pub const LONGEST_OUTPUT: usize = 4096;

/// A health check in Docker's words. What is zero or empty is the image's, else Docker's default.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// `CMD`, `CMD-SHELL` or `NONE`, and the words of the command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Nanoseconds from the end of one check to the begin of the next.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// Nanoseconds that a check may take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// Nanoseconds in which failures do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// Nanoseconds between two checks in that time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    /// So many failures in a row make it unhealthy.
    #[serde(default, skip_serializing_if = "is_none")]
    pub retries: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_none(number: &u32) -> bool {
    *number == 0
}

impl HealthCheck {
    /// The check of an image's configuration, where durations may have any sign; `None` if there is
    /// none that makes sense.
    #[must_use]
    pub fn of_image(value: &serde_json::Value) -> Option<Self> {
        let image: OfImage = serde_json::from_value(value.clone()).ok()?;
        let positive = |nanoseconds: i64| u64::try_from(nanoseconds).unwrap_or(0);
        Some(Self {
            test: image.test.unwrap_or_default(),
            interval: positive(image.interval),
            timeout: positive(image.timeout),
            start_period: positive(image.start_period),
            start_interval: positive(image.start_interval),
            retries: u32::try_from(image.retries).unwrap_or(0),
        })
    }

    /// This check over an image's: what it leaves open is the image's.
    #[must_use]
    pub fn over(self, image: Self) -> Self {
        let or = |own, image| if own == 0 { image } else { own };
        Self {
            test: if self.test.is_empty() { image.test } else { self.test },
            interval: or(self.interval, image.interval),
            timeout: or(self.timeout, image.timeout),
            start_period: or(self.start_period, image.start_period),
            start_interval: or(self.start_interval, image.start_interval),
            retries: if self.retries == 0 { image.retries } else { self.retries },
        }
    }

    /// What runs, with the image's shell where that is asked for; `None` if nothing does.
    #[must_use]
    pub fn argv(&self, shell: Option<&[String]>) -> Option<Vec<String>> {
        let (kind, words) = self.test.split_first()?;
        match kind.as_str() {
            "CMD" => Some(words.to_vec()),
            "CMD-SHELL" => {
                let docker = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
                let shell = shell.filter(|shell| !shell.is_empty()).map(<[String]>::to_vec);
                Some([&shell.unwrap_or_else(docker)[..], words].concat())
            }
            // Docker warns of any other in its daemon's log, and checks nothing.
            _ => None,
        }
    }
}

/// As an image has it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct OfImage {
    test: Option<Vec<String>>,
    interval: i64,
    timeout: i64,
    start_period: i64,
    start_interval: i64,
    retries: i64,
}

/// What happens to a container that becomes unhealthy.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OnUnhealthy {
    /// Nothing but what is told.
    #[default]
    Nothing,
    /// It is stopped and started again, whatever its restart policy says.
    Restart,
    /// It is stopped and stays so.
    Stop,
    /// It is killed, and its restart policy decides.
    Kill,
}

impl OnUnhealthy {
    /// Every one and its word.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("none", Self::Nothing),
        ("restart", Self::Restart),
        ("stop", Self::Stop),
        ("kill", Self::Kill),
    ];

    /// Whether nothing happens.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, one)| *one == self).map_or("", |(word, _)| word)
    }
}

/// How a container is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No check has succeeded yet.
    Starting,
    /// The last ones did.
    Healthy,
    /// Too many in a row did not, or nobody checks (Docker).
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How a container is, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Failures in a row.
    pub streak: u32,
    /// The last results, the oldest first.
    pub log: Vec<CheckResult>,
    /// How many results there were in all of its lives; none of a shim that did not count them.
    #[serde(default)]
    pub checks: u64,
    /// How many of these were no success.
    #[serde(default)]
    pub failed: u64,
}

/// What one check said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckResult {
    /// When it began.
    pub begin: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// The command's, or -1 of one that did not end by itself.
    pub code: i16,
    /// What it wrote on both streams, cut.
    pub output: String,
}

impl Health {
    /// One of which nothing is known.
    #[must_use]
    pub const fn starting() -> Self {
        let status = HealthStatus::Starting;
        Self { status, streak: 0, log: Vec::new(), checks: 0, failed: 0 }
    }

    /// Remembers a result, and no more than the last ones.
    pub fn remember(&mut self, result: CheckResult) {
        self.checks += 1;
        self.failed += u64::from(result.code != 0);
        self.log.push(result);
        let surplus = self.log.len().saturating_sub(REMEMBERED);
        self.log.drain(..surplus);
    }
}

/// What Docker says of a check that took too long.
#[must_use]
pub fn too_long(limit: Nanos, output: &str) -> String {
    if output.is_empty() {
        return format!("Health check exceeded timeout ({limit})");
    }
    format!("Health check exceeded timeout ({limit}): {output}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_check_fills_its_gaps_from_the_image() {
        let image =
            serde_json::json!({"Test": ["CMD", "x"], "Interval": -5, "Timeout": 7, "Retries": 9});
        let image = HealthCheck::of_image(&image).unwrap();
        assert_eq!((image.interval, image.timeout, image.retries), (0, 7, 9));
        let own = HealthCheck { timeout: 1, ..HealthCheck::default() };
        let merged = own.over(image);
        assert_eq!((merged.test, merged.timeout, merged.retries), (words(&["CMD", "x"]), 1, 9));
        assert_eq!(HealthCheck::of_image(&serde_json::json!("soon")), None);
    }

    #[test]
    fn a_test_is_a_command_or_a_line_for_a_shell() {
        let argv = |test: &[&str], shell: Option<&[String]>| {
            HealthCheck { test: words(test), ..HealthCheck::default() }.argv(shell)
        };
        assert_eq!(argv(&["CMD", "a", "b"], None), Some(words(&["a", "b"])));
        assert_eq!(argv(&["CMD-SHELL", "a b"], None), Some(words(&["/bin/sh", "-c", "a b"])));
        let bash = words(&["bash", "-ec"]);
        assert_eq!(argv(&["CMD-SHELL", "a"], Some(&bash)), Some(words(&["bash", "-ec", "a"])));
        assert_eq!(argv(&["NONE"], None), None);
        assert_eq!(argv(&["FOO", "a"], None), None);
        assert_eq!(argv(&[], None), None);
    }

    #[test]
    fn the_last_five_results_are_remembered() {
        let mut health = Health::starting();
        for code in 0..7 {
            let at = Timestamp::UNIX_EPOCH;
            health.remember(CheckResult { begin: at, end: at, code, output: String::new() });
        }
        let codes: Vec<i16> = health.log.iter().map(|result| result.code).collect();
        assert_eq!(codes, [2, 3, 4, 5, 6]);
        assert_eq!((health.checks, health.failed), (7, 6));
    }
}
