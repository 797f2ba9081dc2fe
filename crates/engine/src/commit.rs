//! `commit`: a container becomes an image.
//!
//! What its configuration is made of is decided here, purely; the layer is the store's matter.

use std::collections::BTreeMap;

use model::container::{HealthSpec, Source};
use model::image::RunConfig;
use model::mount::MountSource;
use model::{ImageId, NameOrId, Reference};
use serde_json::json;
use shim::protocol::Refusal;
use shim::{CallError, Shim};

use crate::changes::OURS;
use crate::container::{Container, now};
use crate::guard::call_error;
use crate::prepare::store_error;
use crate::resolve::variable_name;
use crate::view::{CommitOptions, Freezing};
use crate::{Engine, EngineError};

impl Engine {
    /// Makes an image of a container.
    ///
    /// # Errors
    /// There is no such container, or it has no image; a change is no instruction.
    pub fn commit(&self, who: &NameOrId, options: &CommitOptions) -> Result<ImageId, EngineError> {
        // Neither started nor removed meanwhile; to pause takes no lock.
        let (_lock, container) = self.lock(&self.find(who)?.id)?;
        let Source::Image(_) = &container.record.spec.source else {
            return Err(EngineError::Invalid(format!(
                "container {} has no image that a layer could be added to",
                container.name()
            )));
        };
        let base = container.record.image.map(|id| id.to_string()).unwrap_or_default();
        let base = self.image(&base)?;
        let own = own_config(&container, &base.config.config);
        let container_config = container_config(&container, &own);
        let created_by = own.cmd.clone().unwrap_or_default().join(" ");
        let mut config = options.config.clone().unwrap_or_else(|| own.clone());
        store::changes::apply(&mut config, &options.changes)
            .map_err(|error| EngineError::Invalid(error.to_string()))?;
        merge(&mut config, &own);
        let tag = options.reference.as_ref().map(|name| name.parse::<Reference>()).transpose()?;
        let tag = tag.map(Reference::with_default_tag);
        let at = now();
        let commit = store::Commit {
            config,
            container: container.id.to_string(),
            container_config,
            created_by,
            author: options.author.clone(),
            comment: options.comment.clone(),
            tag: tag.clone(),
            created: at.to_string(),
            now_ns: i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX),
        };
        let layer = self.store().container_layer(&container.id).map_err(store_error)?;
        let frozen = self.freeze(&container, options.freezing)?;
        let made = self.store().commit(&layer, &OURS, &base, &commit).map_err(store_error);
        // It goes on, whatever came of it.
        drop(frozen);
        let id = made?;
        self.tell_commit(&container, id, tag.as_ref(), &options.comment);
        Ok(id)
    }

    fn tell_commit(
        &self,
        container: &Container,
        id: ImageId,
        tag: Option<&Reference>,
        comment: &str,
    ) {
        let name = tag.map(Reference::familiar).unwrap_or_default();
        self.tell_image("create", id.to_string(), &[]);
        if tag.is_some() {
            self.tell_image("tag", id.to_string(), &[("name", name.clone())]);
        }
        let more =
            [("comment", comment.to_owned()), ("imageID", id.to_string()), ("imageRef", name)];
        self.tell(container, "commit", &more);
    }

    /// Keeps a container that runs from writing while its files are read.
    pub(crate) fn freeze(
        &self,
        container: &Container,
        freezing: Freezing,
    ) -> Result<Option<Frozen<'_>>, EngineError> {
        // Where nothing can be frozen, as for an ordinary user without control groups, it is read while it
        // runs: what was asked for is an image.
        if freezing == Freezing::No || !self.life(container)?.is_running() {
            return Ok(None);
        }
        // One that ends meanwhile needs no freezing, as its shim says.
        if self.group_of(container).is_ok_and(|group| !group.hierarchies().is_delegated()) {
            return Ok(None);
        }
        let Some(mut shim) = self.shim(&container.id)? else { return Ok(None) };
        match shim.pause_while_connected() {
            Ok(()) => {}
            // It stands still anyway.
            Err(
                CallError::Gone | CallError::Refused(Refusal::AlreadyPaused | Refusal::NotRunning),
            ) => return Ok(None),
            Err(error) => return Err(call_error(&container.id, error)),
        }
        self.tell(container, "pause", &[]);
        Ok(Some(Frozen { engine: self, container: container.clone(), shim }))
    }
}

/// A container that stands still for as long as this lives: also if this process is killed, since its
/// shim does not thaw it later than its connection breaks.
pub(crate) struct Frozen<'e> {
    engine: &'e Engine,
    container: Container,
    shim: Shim,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // Somebody else may have thawed, stopped or removed it.
        if self.shim.resume().is_ok() {
            self.engine.tell(&self.container, "unpause", &[]);
        }
    }
}

/// What a container was given, as an image says it.
fn own_config(container: &Container, image: &RunConfig) -> RunConfig {
    let (spec, resolved) = (&container.record.spec, &container.record.resolved);
    let working_dir = spec.process.working_dir.as_ref();
    let anonymous = resolved.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name: None, .. } => Some(mount.target.to_string_lossy().into_owned()),
        MountSource::Volume { .. }
        | MountSource::Bind { .. }
        | MountSource::Image { .. }
        | MountSource::Tmpfs { .. } => None,
    });
    let exposed = resolved.exposed.iter().map(|port| (port.to_string(), json!({})));
    RunConfig {
        user: resolved.user.clone(),
        exposed_ports: exposed.collect(),
        env: resolved.env.iter().filter(|variable| variable.contains('=')).cloned().collect(),
        entrypoint: resolved.entrypoint.clone(),
        cmd: resolved.command.clone(),
        volumes: image.volumes.keys().cloned().chain(anonymous).map(|v| (v, json!({}))).collect(),
        working_dir: working_dir
            .map_or_else(|| image.working_dir.clone(), |dir| dir.to_string_lossy().into_owned()),
        labels: resolved.labels.clone(),
        stop_signal: spec
            .process
            .stop_signal
            .map(|signal| signal.to_string())
            .or_else(|| image.stop_signal.clone()),
        healthcheck: healthcheck(container),
        shell: image.shell.clone(),
        on_build: image.on_build.clone(),
    }
}

/// What Docker keeps of a container beside what its image has: `Config` of its inspection.
fn container_config(container: &Container, own: &RunConfig) -> serde_json::Value {
    let Source::Image(typed) = &container.record.spec.source else { return json!(null) };
    let mut config = json!(own);
    config["Image"] = json!(typed);
    config["Hostname"] = json!(container.record.resolved.hostname);
    config
}

/// The user's over the image's, as an image has it.
fn healthcheck(container: &Container) -> Option<serde_json::Value> {
    if container.record.spec.process.health == HealthSpec::Nothing {
        return Some(json!({ "Test": ["NONE"] }));
    }
    let check = &container.record.resolved.health.as_ref()?.check;
    let numbers = [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
        ("Retries", u64::from(check.retries)),
    ];
    let given = numbers.into_iter().filter(|(_, number)| *number != 0);
    let mut fields: serde_json::Map<_, _> =
        given.map(|(name, number)| (name.to_owned(), json!(number))).collect();
    fields.insert("Test".to_owned(), json!(check.test));
    Some(fields.into())
}

/// Fills what a configuration does not say with what the container has, by Docker's rules.
fn merge(config: &mut RunConfig, own: &RunConfig) {
    let text = |text: &mut String, own: &String| {
        if text.is_empty() {
            text.clone_from(own);
        }
    };
    text(&mut config.user, &own.user);
    text(&mut config.working_dir, &own.working_dir);
    fill(&mut config.exposed_ports, &own.exposed_ports);
    fill(&mut config.volumes, &own.volumes);
    fill(&mut config.labels, &own.labels);
    for variable in &own.env {
        let name = variable_name(variable);
        if !config.env.iter().any(|there| variable_name(there) == name) {
            config.env.push(variable.clone());
        }
    }
    let is_bare = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
    // A command of the container's is for its entrypoint, not for another one.
    if is_bare(&config.entrypoint) {
        if is_bare(&config.cmd) {
            config.cmd.clone_from(&own.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&own.entrypoint);
        }
    }
    let or = |value: &mut Option<String>, own: &Option<String>| {
        if value.is_none() {
            value.clone_from(own);
        }
    };
    or(&mut config.stop_signal, &own.stop_signal);
    if config.healthcheck.is_none() {
        config.healthcheck.clone_from(&own.healthcheck);
    }
}

fn fill<V: Clone>(map: &mut BTreeMap<String, V>, own: &BTreeMap<String, V>) {
    for (key, value) in own {
        map.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_the_containers() {
        let words = |words: &[&str]| Some(words.iter().map(ToString::to_string).collect());
        let own = RunConfig {
            user: "me".into(),
            env: vec!["A=1".into(), "B=2".into()],
            cmd: words(&["sh"]),
            labels: BTreeMap::from([("l".into(), "own".into())]),
            ..RunConfig::default()
        };
        let mut config = RunConfig {
            env: vec!["B=3".into()],
            entrypoint: words(&["e"]),
            labels: BTreeMap::from([("l".into(), "new".into())]),
            ..RunConfig::default()
        };
        merge(&mut config, &own);
        assert_eq!((config.user.as_str(), config.env.join(" ")), ("me", "B=3 A=1".to_owned()));
        assert_eq!((config.cmd, config.labels["l"].as_str()), (None, "new"));
        let mut config = RunConfig::default();
        merge(&mut config, &own);
        assert_eq!(config, own);
    }
}
