//! The flags that `run` and `create` share, and how they become a request.
//!
//! The flags are grouped by what they are about; each group writes its part of the request.
//! Every flag here reaches the wire: what the server cannot do, the server refuses.

mod health;
mod network;
mod process;
mod resources;
mod security;
mod storage;

use docker_api::types::containers::{CreateContainer, Extension};
use std::path::Path;

// No doc comments on the structs that are flattened: clap would take them for the command's.

#[derive(clap::Args, Debug)]
pub(crate) struct ContainerOptions {
    #[command(flatten)]
    process: process::ProcessOptions,
    #[command(flatten)]
    network: network::NetworkOptions,
    #[command(flatten)]
    storage: storage::StorageOptions,
    #[command(flatten)]
    resources: resources::ResourceOptions,
    #[command(flatten)]
    security: security::SecurityOptions,
    #[command(flatten)]
    health: health::HealthOptions,
}

/// What a request takes from the world around it.
pub(crate) struct Ambient<'a> {
    /// Our own environment.
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file; the error is the message.
    pub(crate) read: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
    /// The working directory.
    pub(crate) cwd: &'a Path,
}

/// What runs: an image or a directory, and the words behind it.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// The first positional argument.
    pub(crate) what: &'a str,
    /// Whether it names an image.
    pub(crate) kind: SubjectKind,
    /// The rest.
    pub(crate) command: &'a [String],
}

/// What the first positional argument names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubjectKind {
    /// An image.
    Image,
    /// A directory of the host (`--rootfs`).
    Directory,
}

impl ContainerOptions {
    /// The request for all of these flags; the error is the message.
    pub(crate) fn request(
        &self,
        subject: &Subject<'_>,
        ambient: &Ambient<'_>,
    ) -> Result<CreateContainer, String> {
        let mut request = CreateContainer::default();
        match subject.kind {
            SubjectKind::Image => request.config.image = subject.what.to_owned(),
            SubjectKind::Directory => {
                let rootfs = rootfs(subject.what, ambient.cwd);
                request.dhow = Some(Extension { rootfs, ..Extension::default() });
            }
        }
        if !subject.command.is_empty() {
            request.config.cmd = Some(subject.command.to_vec().into());
        }
        self.process.apply(&mut request, ambient)?;
        self.network.apply(&mut request)?;
        self.storage.apply(&mut request, ambient)?;
        self.resources.apply(&mut request)?;
        self.security.apply(&mut request, ambient)?;
        self.health.apply(&mut request)?;
        self.check(&request)?;
        Ok(request)
    }

    fn check(&self, request: &CreateContainer) -> Result<(), String> {
        let restarts = !matches!(request.host_config.restart_policy.name.as_str(), "" | "no");
        if request.host_config.auto_remove && restarts {
            return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
        }
        Ok(())
    }
}

/// A directory, absolute; `:O` asks for a throw-away layer over it.
fn rootfs(text: &str, cwd: &Path) -> String {
    let (path, overlay) = match text.strip_suffix(":O") {
        Some(path) => (path, ":O"),
        None => (text, ""),
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("./{path}") };
    format!("{}{overlay}", crate::parse::volume::absolute(&path, cwd))
}

#[cfg(test)]
mod tests;
