//! The process: its command, user, environment, streams, and its end.

use super::Ambient;
use crate::parse::env::{self, Bare, Label, Variable};
use crate::parse::limits;
use crate::parse::number::Int;
use docker_api::types::containers::CreateContainer;
use std::str::FromStr;

#[derive(clap::Args, Debug)]
pub(super) struct ProcessOptions {
    /// Which of STDIN, STDOUT and STDERR to attach to
    #[arg(short, long, value_name = "list")]
    attach: Vec<Stream>,
    /// Run this instead of the image's entrypoint
    #[arg(long, value_name = "string")]
    entrypoint: Option<String>,
    /// Set a variable, or pass ours on
    #[arg(short, long, value_name = "list")]
    env: Vec<Variable>,
    /// Set the variables that a file lists
    #[arg(long, value_name = "list")]
    env_file: Vec<String>,
    /// Additional groups of the process
    #[arg(long, value_name = "list")]
    group_add: Vec<String>,
    /// Run a small init that forwards signals and reaps processes
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    init: Option<bool>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// Set a label
    #[arg(short, long, value_name = "list")]
    label: Vec<Label>,
    /// Set the labels that a file lists
    #[arg(long, value_name = "list")]
    label_file: Vec<String>,
    /// Where the container's output is kept
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    log_driver: String,
    /// Options of the log driver
    #[arg(long, value_name = "list")]
    log_opt: Vec<String>,
    /// Add an annotation, passed to the OCI runtime
    #[arg(long, value_name = "map")]
    annotation: Vec<String>,
    /// Restart the container when it exits: no, on-failure[:max], always, unless-stopped
    #[arg(long, value_name = "string", default_value = "no")]
    restart: String,
    /// Remove the container and its anonymous volumes when it exits
    #[arg(long)]
    rm: bool,
    /// OCI runtime to use
    #[arg(long, value_name = "string")]
    runtime: Option<String>,
    /// Signal that stops the container
    #[arg(long, value_name = "string")]
    stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL
    #[arg(long, value_name = "int")]
    stop_timeout: Option<Int>,
    /// Prepare for systemd as process 1: true (if the command is), false, always
    #[arg(long, value_name = "string")]
    systemd: Option<String>,
    /// Allocate a terminal
    #[arg(short, long)]
    tty: bool,
    /// Name or id of the user, and of the group: user[:group]
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

impl FromStr for Stream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_lowercase().as_str() {
            "stdin" => Ok(Self::Stdin),
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
        }
    }
}

impl ProcessOptions {
    pub(super) fn apply(
        &self,
        request: &mut CreateContainer,
        ambient: &Ambient<'_>,
    ) -> Result<(), String> {
        self.streams(request);
        self.variables(request, ambient)?;
        let config = &mut request.config;
        config.user = self.user.clone().unwrap_or_default();
        config.working_dir = self.workdir.clone().unwrap_or_default();
        config.stop_signal = self.stop_signal.clone().unwrap_or_default();
        config.stop_timeout = self.stop_timeout.map(|seconds| seconds.0);
        config.entrypoint = self.entrypoint.as_ref().map(|path| vec![path.clone()].into());
        let host = &mut request.host_config;
        host.restart_policy = limits::restart(&self.restart)?;
        host.auto_remove = self.rm;
        host.init = self.init;
        host.runtime = self.runtime.clone().unwrap_or_default();
        host.group_add = (!self.group_add.is_empty()).then(|| self.group_add.clone());
        host.annotations = (!self.annotation.is_empty()).then(|| env::map(&self.annotation));
        if self.log_driver == "none" && !self.log_opt.is_empty() {
            return Err("invalid logging opts for driver none".to_owned());
        }
        host.log_config.driver.clone_from(&self.log_driver);
        host.log_config.config = Some(env::map(&self.log_opt));
        if let Some(mode) = &self.systemd {
            request.dhow.get_or_insert_default().systemd.clone_from(mode);
        }
        Ok(())
    }

    fn streams(&self, request: &mut CreateContainer) {
        let config = &mut request.config;
        config.tty = self.tty;
        config.open_stdin = self.interactive;
        let chosen = |stream| self.attach.contains(&stream);
        let all = self.attach.is_empty();
        config.attach_stdin = if all { self.interactive } else { chosen(Stream::Stdin) };
        config.attach_stdout = all || chosen(Stream::Stdout);
        config.attach_stderr = all || chosen(Stream::Stderr);
        config.stdin_once = config.open_stdin && config.attach_stdin;
    }

    /// Files first, then flags, so that flags win.
    fn variables(
        &self,
        request: &mut CreateContainer,
        ambient: &Ambient<'_>,
    ) -> Result<(), String> {
        let mut variables = Vec::new();
        for path in &self.env_file {
            let text = (ambient.read)(path)?;
            variables.extend(env::file(path, &text, Bare::Lookup(ambient.env))?);
        }
        variables.extend(self.env.iter().map(|v| env::inherit(&v.0, ambient.env)));
        request.config.env = (!variables.is_empty()).then_some(variables);
        let mut labels = Vec::new();
        for path in &self.label_file {
            let text = (ambient.read)(path)?;
            labels.extend(env::file(path, &text, Bare::Drop)?);
        }
        labels.extend(self.label.iter().map(|label| label.0.clone()));
        request.config.labels = Some(env::map(labels));
        Ok(())
    }

    /// Whether `-a` was given.
    pub(super) fn chooses_streams(&self) -> bool {
        !self.attach.is_empty()
    }
}

impl super::ContainerOptions {
    /// Whether `-a` was given, which `-d` contradicts.
    pub(crate) fn chooses_streams(&self) -> bool {
        self.process.chooses_streams()
    }
}
