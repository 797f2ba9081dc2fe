//! An additional process.

use docker_api::types::exec::{ExecInspect, ProcessConfig};
use engine::view::{ExecLife, ExecView};

/// `GET /exec/{id}/json`.
pub(crate) fn exec(view: &ExecView) -> ExecInspect {
    let spec = &view.spec;
    let (entrypoint, arguments) =
        spec.argv.split_first().map_or(("", &[][..]), |(program, args)| (program, args));
    let (running, pid, exit_code) = match view.life {
        ExecLife::Created => (false, 0, None),
        ExecLife::Running { pid } => (true, pid, None),
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
