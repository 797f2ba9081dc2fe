//! The human text about a container's state in lists: `Up 5 seconds`, `Exited (0) 2 days ago`.

use engine::view::{ContainerView, RemovalProgress, UnreadView};
use jiff::{SignedDuration, Timestamp};
use model::Life;
use model::health::HealthStatus;

/// Docker's word for the state.
pub(crate) fn word(view: &ContainerView) -> &'static str {
    match view.removal {
        RemovalProgress::Removing => "removing",
        RemovalProgress::Dead => "dead",
        RemovalProgress::NotAsked => view.life.word(),
    }
}

/// The same for one that cannot be read.
pub(crate) fn unread_word(view: &UnreadView) -> &'static str {
    // Docker's for one of which nothing but its name is left.
    view.life.as_ref().map_or("dead", Life::word)
}

/// The text.
pub(crate) fn text(view: &ContainerView, now: Timestamp) -> String {
    match view.removal {
        RemovalProgress::Removing => "Removal In Progress".to_owned(),
        RemovalProgress::Dead => "Dead".to_owned(),
        RemovalProgress::NotAsked => of_life(&view.life, &oom(view), &health(view), now),
    }
}

/// The same for one that cannot be read.
pub(super) fn unread_text(view: &UnreadView, now: Timestamp) -> String {
    match &view.life {
        None => "Unreadable".to_owned(),
        Some(life) => format!("{} (unreadable)", of_life(life, "", "", now)),
    }
}

fn of_life(life: &Life, oom: &str, health: &str, now: Timestamp) -> String {
    match life {
        Life::Created { .. } => "Created".to_owned(),
        Life::Running { since, .. } => format!("Up {}{health}", since_then(*since, now)),
        Life::Paused { since, .. } => format!("Up {} (Paused)", since_then(*since, now)),
        Life::Restarting { code, at, .. } => {
            format!("Restarting ({}) {oom}{} ago", code.0, since_then(*at, now))
        }
        Life::Exited { code, at, .. } => {
            format!("Exited ({}) {oom}{} ago", code.0, since_then(*at, now))
        }
    }
}

/// Docker says of one that starts what it is that starts.
fn health(view: &ContainerView) -> String {
    match view.health.as_ref().map(|health| health.status) {
        None => String::new(),
        Some(status @ HealthStatus::Starting) => format!(" (health: {})", status.word()),
        Some(status) => format!(" ({})", status.word()),
    }
}

/// Docker tells of it in an inspection alone.
fn oom(view: &ContainerView) -> String {
    let (Life::Exited { oom: true, .. } | Life::Restarting { oom: true, .. }) = view.life else {
        return String::new();
    };
    format!("{}, ", out_of_memory(view.spec.limits.memory))
}

/// `OOM, limit 512MiB`.
pub(super) fn out_of_memory(limit: Option<u64>) -> String {
    limit.map_or_else(|| "OOM".to_owned(), |limit| format!("OOM, limit {}", binary(limit)))
}

/// `512MiB`, `1.5GiB`: as a limit is typed, if it was a round one.
fn binary(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut scale, mut unit) = (1_u64, 0);
    while bytes / scale >= 1024 && unit + 1 < UNITS.len() {
        (scale, unit) = (scale * 1024, unit + 1);
    }
    let tenths = (bytes % scale) * 10 / scale;
    let fraction = if tenths == 0 { String::new() } else { format!(".{tenths}") };
    format!("{}{fraction}{}", bytes / scale, UNITS[unit])
}

pub(super) fn since_then(then: Timestamp, now: Timestamp) -> String {
    human(now.duration_since(then))
}

/// Docker's coarse durations. A clock that went back counts as no time.
fn human(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let minutes = seconds / 60;
    // Rounded, unlike the others.
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (0, _, _) => "Less than a second".to_owned(),
        (1, _, _) => "1 second".to_owned(),
        (2..60, _, _) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, 2..48) => format!("{hours} hours"),
        (_, _, 48..336) => format!("{} days", hours / 24),
        (_, _, 336..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, 1440..17520) => format!("{} months", hours / 24 / 30),
        (_, _, _) => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_shown_as_they_were_typed() {
        let shown = [1, 6 << 20, 512 << 20, 1536 << 20, (1 << 30) + 1].map(binary);
        assert_eq!(shown, ["1B", "6MiB", "512MiB", "1.5GiB", "1GiB"]);
    }

    #[test]
    fn durations_are_dockers() {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        const DAY: i64 = 24 * HOUR;
        for (seconds, want) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (2 * MINUTE, "2 minutes"),
            (59 * MINUTE + 59, "59 minutes"),
            (HOUR, "About an hour"),
            (89 * MINUTE, "About an hour"),
            (90 * MINUTE, "2 hours"),
            (47 * HOUR, "47 hours"),
            (2 * DAY, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (729 * DAY, "24 months"),
            (730 * DAY, "2 years"),
        ] {
            assert_eq!(human(SignedDuration::from_secs(seconds)), want, "{seconds}");
        }
    }
}
