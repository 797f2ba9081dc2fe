//! Runs a health check: a process of the container whose output is kept for its result.

use std::time::Duration;

use model::ExecId;
use model::container::Stdin;
use model::duration::Nanos;
use model::health::{self, CheckResult, Health, HealthStatus, LONGEST_OUTPUT};
use rustix::rand::{GetRandomFlags, getrandom};

use super::Guard;
use super::effects::{chain, failed};
use crate::health::{keep_health, read_health, read_probe, write_health};
use crate::machine::{Checked, Event, Verdict};
use crate::protocol::{ExecStart, Started, Target, WithoutClient};

/// The check that runs, and what it has written so far.
#[derive(Debug)]
pub(super) struct Check {
    exec: ExecId,
    output: Vec<u8>,
    rest: Rest,
}

/// Whether it has written more than is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    None,
    Dropped,
}

impl Check {
    /// Keeps what there is room for.
    fn write(&mut self, data: &[u8]) {
        let kept = data.len().min(LONGEST_OUTPUT - self.output.len());
        self.output.extend_from_slice(&data[..kept]);
        if kept < data.len() {
            self.rest = Rest::Dropped;
        }
    }

    /// Docker's form.
    fn into_text(self) -> String {
        let mut text = String::from_utf8_lossy(&self.output).into_owned();
        if self.rest == Rest::Dropped {
            text.push_str("...");
        }
        text
    }
}

impl Guard {
    /// Starts it, and tells the machine.
    pub(super) fn start_check(&mut self) {
        let event = match self.try_check() {
            Ok((exec, started)) => Event::CheckRuns(exec, started),
            Err(why) => Event::CheckFailed(why),
        };
        self.events.push_back(event);
        // What the template took is to be freed.
        let now = self.elapsed();
        self.scratch.warm(now);
    }

    fn try_check(&mut self) -> Result<(ExecId, Started), String> {
        let process = read_probe(&self.paths).map_err(|error| chain(&error))?;
        let process = process.ok_or("what the health check runs is not known")?;
        let mut bytes = [0; 32];
        getrandom(&mut bytes, GetRandomFlags::empty())
            .map_err(|errno| failed("draw random bytes", errno))?;
        let exec = ExecId::from_random(bytes);
        self.tell_check(exec, process.args().as_deref().unwrap_or_default());
        let start = ExecStart {
            exec,
            process: Box::new(process),
            stdin: Stdin::Null,
            attach: None,
            without_client: WithoutClient::Stays,
        };
        let started = self.exec(start).map_err(|failure| failure.message)?;
        self.check = Some(Check { exec, output: Vec::new(), rest: Rest::None });
        Ok((exec, started))
    }

    /// What a process has written, if it is the check.
    pub(super) fn note_output(&mut self, target: Target, count: usize) {
        if let Some(check) = &mut self.check
            && target == Target::Exec(check.exec)
        {
            check.write(&self.scratch.buffer[..count]);
        }
    }

    /// Writes down how the container is. Without room for it, the last word counts.
    pub(super) fn record_health(
        &mut self,
        status: HealthStatus,
        streak: u32,
        checked: Option<Checked>,
    ) {
        let known = read_health(&self.paths).ok().flatten();
        let mut health = known.unwrap_or_else(Health::starting);
        (health.status, health.streak) = (status, streak);
        if let Some(checked) = checked {
            let output = self.check.take().map_or_else(String::new, Check::into_text);
            health.remember(result(checked, output));
        }
        let _ = write_health(&self.paths, &health);
    }

    /// The container has ended, and with it whoever looked after its health.
    pub(super) fn end_checks(&mut self) {
        self.check = None;
        let _ = keep_health(&self.paths);
    }
}

fn result(checked: Checked, output: String) -> CheckResult {
    let Checked { begin, end, verdict } = checked;
    let (code, output) = match verdict {
        Verdict::Exited(code) => (i16::from(code.0), output),
        Verdict::TooLong(limit) => (-1, health::too_long(nanos(limit), &output)),
        Verdict::NotRun(why) => (-1, why),
    };
    CheckResult { begin, end, code, output }
}

fn nanos(duration: Duration) -> Nanos {
    Nanos(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_docker_keeps() {
        let check = |pieces: &[usize]| {
            let mut check =
                Check { exec: ExecId::from_random([1; 32]), output: Vec::new(), rest: Rest::None };
            pieces.iter().for_each(|length| check.write(&vec![b'x'; *length]));
            check.into_text()
        };
        assert_eq!(check(&[4000, 96]).len(), 4096);
        let cut = check(&[4000, 97, 1]);
        assert!(cut.len() == 4099 && cut.ends_with("x..."), "{}", cut.len());
    }
}
