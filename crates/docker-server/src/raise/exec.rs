//! An additional process.

use docker_api::types::exec::{ExecInspect, ExecSummary, ProcessConfig};
use engine::view::{Ended, ExecLife, ExecView};
use jiff::Timestamp;

use super::status;

/// `GET /exec/{id}/json`.
pub(crate) fn exec(view: &ExecView) -> ExecInspect {
    let spec = &view.spec;
    let (entrypoint, arguments) =
        spec.argv.split_first().map_or(("", &[][..]), |(program, args)| (program, args));
    let (running, pid, exit_code) = match view.life {
        ExecLife::Created => (false, 0, None),
        ExecLife::Running { pid, .. } => (true, pid, None),
        ExecLife::Exited { code, .. } => (false, 0, Some(i64::from(code.0))),
    };
    ExecInspect {
        id: view.id.to_string(),
        running,
        exit_code,
        process_config: ProcessConfig {
            tty: spec.terminal,
            entrypoint: entrypoint.to_owned(),
            arguments: arguments.to_vec(),
            privileged: Some(spec.privileged),
            user: spec.user.clone().unwrap_or_default(),
        },
        open_stdin: spec.stdin,
        open_stderr: spec.streams.stderr,
        open_stdout: spec.streams.stdout,
        can_remove: exit_code.is_some(),
        container_id: view.container.to_string(),
        detach_keys: spec.detach_keys.clone(),
        pid: i64::from(pid),
        oom_killed: matches!(view.life, ExecLife::Exited { oom: true, .. }),
    }
}

/// One of `GET /dhow/containers/{id}/execs`. `limit` is the container's memory limit.
pub(crate) fn exec_summary(view: &ExecView, limit: Option<u64>, now: Timestamp) -> ExecSummary {
    let time = |at: Timestamp| at.to_string();
    let (pid, exit_code, span) = match view.life {
        ExecLife::Created => (0, None, [None, None]),
        ExecLife::Running { pid, since } => (pid, None, [Some(since), None]),
        ExecLife::Exited { code, span, .. } => {
            (0, Some(i64::from(code.0)), span.map_or([None, None], |span| span.map(Some)))
        }
    };
    ExecSummary {
        id: view.id.to_string(),
        container_id: view.container.to_string(),
        pid: i64::from(pid),
        user: view.spec.user.clone().unwrap_or_default(),
        command: view.spec.argv.join(" "),
        running: matches!(view.life, ExecLife::Running { .. }),
        exit_code,
        reason: reason(&view.life, limit),
        status: text(&view.life, limit, now),
        started_at: span[0].map(time).unwrap_or_default(),
        finished_at: span[1].map(time).unwrap_or_default(),
    }
}

/// As `ps` puts it: `Up 5 seconds`, `Exited (137) OOM, limit 16MiB, 2 minutes ago`.
fn text(life: &ExecLife, limit: Option<u64>, now: Timestamp) -> String {
    match life {
        ExecLife::Created => "Created".to_owned(),
        ExecLife::Running { since, .. } => format!("Up {}", status::since_then(*since, now)),
        ExecLife::Exited { code, span, .. } => {
            let ago = span.map(|[_, at]| format!("{} ago", status::since_then(at, now)));
            let why = Some(reason(life, limit)).filter(|why| !why.is_empty());
            let rest: Vec<String> = why.into_iter().chain(ago).collect();
            format!("Exited ({}) {}", code.0, rest.join(", ")).trim_end().to_owned()
        }
    }
}

/// What made it end, in a few words; empty for one that ended by itself.
fn reason(life: &ExecLife, limit: Option<u64>) -> String {
    match life {
        ExecLife::Exited { oom: true, .. } => status::out_of_memory(limit),
        ExecLife::Exited { why: Ended::ClientGone, .. } => "client gone".to_owned(),
        ExecLife::Exited { why: Ended::Signalled(signal), .. } => format!("exec kill {signal}"),
        ExecLife::Exited { why: Ended::Container, .. } => "with its container".to_owned(),
        ExecLife::Exited { why: Ended::ByItself, .. }
        | ExecLife::Created
        | ExecLife::Running { .. } => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use model::{ExitCode, Signal};

    #[test]
    fn an_end_says_why() {
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let span = Some([at(0), at(10)]);
        let exited = |code, oom, why| ExecLife::Exited { code: ExitCode(code), oom, why, span };
        let shown = |life| text(&life, Some(16 << 20), at(15));
        let texts = [
            ExecLife::Running { pid: 7, since: at(0) },
            exited(0, false, Ended::ByItself),
            exited(129, false, Ended::ClientGone),
            exited(137, false, Ended::Signalled(Signal::KILL)),
            exited(137, false, Ended::Container),
            exited(137, true, Ended::ByItself),
            ExecLife::Exited { code: ExitCode(127), oom: false, why: Ended::ByItself, span: None },
        ]
        .map(shown);
        expect_test::expect![[r#"
            Up 15 seconds
            Exited (0) 5 seconds ago
            Exited (129) client gone, 5 seconds ago
            Exited (137) exec kill SIGKILL, 5 seconds ago
            Exited (137) with its container, 5 seconds ago
            Exited (137) OOM, limit 16MiB, 5 seconds ago
            Exited (127)"#]]
        .assert_eq(&texts.join("\n"));
    }
}
