//! Which objects of a list are wanted: Docker's filters.

pub(crate) mod events;
mod glob;
mod images;
mod prune;
mod search;

use engine::view::{ContainerView, NetworkView, PublishedView, UnreadView, VolumeView};
use jiff::Timestamp;
use model::container::NetworkMode;
use model::port::Protocol;
use model::{ContainerId, ContainerName, ImageId, Life};
use regex_lite::Regex;

pub(crate) use images::Images;
pub(crate) use prune::{
    PruneContainers, PruneImages, PruneNetworks, PruneVolumes, check_build_prune,
};

pub(crate) use search::Search;

use crate::params::{Filters, ParamError, Query};

/// The words of `status=`.
const STATES: [&str; 7] =
    ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

/// The words of `health=`.
const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// A filter that cannot be applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum FilterError {
    #[error(transparent)]
    Param(#[from] ParamError),
    #[error("invalid filter 'status={0}': invalid value for state ({0}): must be one of {states}", states = STATES.join(", "))]
    State(String),
    #[error("invalid filter 'health={0}': invalid value for health ({0}): must be one of {healths}", healths = HEALTHS.join(", "))]
    Health(String),
    #[error("invalid {key} filter '{value}': expected PORT[-PORT][/PROTOCOL]")]
    Port { key: &'static str, value: String },
    #[error("more than one {0} filter specified")]
    Twice(&'static str),
    #[error("invalid filter '{key}={value}': {why}")]
    Value { key: &'static str, value: String, why: String },
}

impl From<FilterError> for crate::error::HttpError {
    fn from(error: FilterError) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// Unanchored patterns of which one must fit.
#[derive(Debug)]
struct Patterns(Vec<Regex>);

impl Patterns {
    fn parse(filters: &Filters, key: &'static str) -> Result<Self, FilterError> {
        let pattern = |value: &String| {
            Regex::new(value).map_err(|e| FilterError::Value {
                key,
                value: value.clone(),
                why: e.to_string(),
            })
        };
        filters.get(key).iter().map(pattern).collect::<Result<_, _>>().map(Self)
    }

    fn fit(&self, texts: &[&str]) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|regex| texts.iter().any(|text| regex.is_match(text)))
    }
}

/// A boundary of lists that are ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Boundary(pub(crate) Timestamp);

/// Filters of containers.
#[derive(Debug)]
pub(crate) struct Containers {
    filters: Filters,
    names: Patterns,
    exited: Vec<i64>,
    exposed: Vec<Ports>,
    published: Vec<Ports>,
    is_task: Option<bool>,
}

impl Containers {
    pub(crate) fn parse(query: &Query) -> Result<Self, FilterError> {
        let filters = query.filters(&[
            "ancestor",
            "before",
            "exited",
            "expose",
            "health",
            "id",
            "is-task",
            "isolation",
            "label",
            "label!",
            "name",
            "network",
            "publish",
            "since",
            "status",
            "volume",
        ])?;
        if let Some(bad) = filters.get("status").iter().find(|s| !STATES.contains(&s.as_str())) {
            return Err(FilterError::State(bad.clone()));
        }
        if let Some(bad) = filters.get("health").iter().find(|s| !HEALTHS.contains(&s.as_str())) {
            return Err(FilterError::Health(bad.clone()));
        }
        Ok(Self {
            names: Patterns::parse(&filters, "name")?,
            exited: filters
                .get("exited")
                .iter()
                .map(|text| exited(text))
                .collect::<Result<_, _>>()?,
            exposed: Ports::all(&filters, "expose")?,
            published: Ports::all(&filters, "publish")?,
            is_task: filters.boolean("is-task")?,
            filters,
        })
    }

    /// Whether stopped containers are listed as well: only `status` implies that.
    pub(crate) fn implies_all(&self) -> bool {
        self.filters.has("status")
    }

    /// Names of images whose containers are wanted.
    pub(crate) fn ancestors(&self) -> &[String] {
        self.filters.get("ancestor")
    }

    /// The container before which others must have been made, and the one after which.
    pub(crate) fn boundaries(&self) -> (Option<&String>, Option<&String>) {
        (self.filters.get("before").first(), self.filters.get("since").first())
    }

    /// Whether a container is wanted, as far as it alone decides that.
    pub(crate) fn fits(&self, view: &ContainerView, state: &str) -> bool {
        let filters = &self.filters;
        self.fits_row(&view.name, view.id, state)
            && filters.labels_fit(&view.resolved.labels)
            && (self.exited.is_empty() || self.exited.contains(&exit_code(view)))
            && filters.any("volume", |volume| mounts(view, volume))
            && filters.any("network", |network| is_on(view, network))
            && (self.exposed.is_empty() || self.exposed.iter().any(|ports| exposes(view, *ports)))
            && (self.published.is_empty()
                || view.ports.iter().any(|port| self.published.iter().any(|it| publishes(port, *it))))
            && filters.any("health", |wanted| wanted == health(view))
            // Nothing here belongs to a swarm, or is isolated otherwise.
            && self.is_task != Some(true)
            && filters.any("isolation", |isolation| isolation == "default")
    }

    /// The same for one that cannot be read: who asks for more than is known of it does not mean it.
    pub(crate) fn fits_unread(&self, view: &UnreadView, state: &str) -> bool {
        const KNOWN: [&str; 6] = ["ancestor", "before", "id", "name", "since", "status"];
        const OF_ITS_LIFE: [&str; 3] = ["exited", "health", "publish"];
        match &view.at_rest {
            Some(at_rest) => {
                !self.filters.keys().any(|key| OF_ITS_LIFE.contains(&key))
                    && self.fits(at_rest, state)
            }
            None => {
                self.filters.keys().all(|key| KNOWN.contains(&key))
                    && self.fits_row(&view.name, view.id, state)
            }
        }
    }

    fn fits_row(&self, name: &ContainerName, id: ContainerId, state: &str) -> bool {
        let name = name.as_str();
        (self.names.0.is_empty() || self.names.fit(&[name, &format!("/{name}")]))
            && self.filters.any("id", |prefix| id.to_string().starts_with(prefix))
            && self.filters.any("status", |wanted| wanted == state)
    }
}

fn exited(text: &str) -> Result<i64, FilterError> {
    let bad = |_| FilterError::Value {
        key: "exited",
        value: text.to_owned(),
        why: "no number".to_owned(),
    };
    text.parse().map_err(bad)
}

/// -1 for one that has not exited, which no filter asks for.
fn exit_code(view: &ContainerView) -> i64 {
    match &view.life {
        Life::Exited { code, .. } => i64::from(code.0),
        Life::Created { .. }
        | Life::Running { .. }
        | Life::Paused { .. }
        | Life::Restarting { .. } => -1,
    }
}

fn health(view: &ContainerView) -> &'static str {
    view.health.as_ref().map_or("none", |health| health.status.word())
}

fn mounts(view: &ContainerView, wanted: &str) -> bool {
    view.mounts.iter().any(|mount| {
        let named = mount.volume.as_ref().is_some_and(|volume| volume.name == wanted);
        named || mount.mount.target.as_os_str() == wanted
    })
}

fn is_on(view: &ContainerView, wanted: &str) -> bool {
    let id = |network: &engine::view::EndpointView| {
        network.network.is_some_and(|id| id.to_string().starts_with(wanted))
    };
    let host = view.spec.network.mode == NetworkMode::Host && wanted == "host";
    host || view.networks.contains_key(wanted) || view.networks.values().any(id)
}

/// `80`, `80/udp`, `80-90`, `80-90/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ports {
    first: u16,
    last: u16,
    protocol: Protocol,
}

impl Ports {
    fn all(filters: &Filters, key: &'static str) -> Result<Vec<Self>, FilterError> {
        let read = |value: &String| {
            Self::parse(value).ok_or_else(|| FilterError::Port { key, value: value.clone() })
        };
        filters.get(key).iter().map(read).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        let protocol = protocol.parse().ok()?;
        (first <= last).then_some(Self { first, last, protocol })
    }

    fn hold(self, port: u16, protocol: Protocol) -> bool {
        (self.first..=self.last).contains(&port) && self.protocol == protocol
    }
}

/// One that does not run has no ports, as in Docker.
fn exposes(view: &ContainerView, wanted: Ports) -> bool {
    view.life.is_running()
        && view.resolved.exposed.iter().any(|port| wanted.hold(port.port, port.protocol))
}

/// Without a port of the host, it is reached at the container's own address.
fn publishes(port: &PublishedView, wanted: Ports) -> bool {
    let last = port.host_port.saturating_add(port.count.saturating_sub(1));
    port.host_port != 0
        && port.container.protocol == wanted.protocol
        && port.host_port <= wanted.last
        && wanted.first <= last
}

/// Whether one of `ids` is the container's image.
pub(crate) fn is_from(image: Option<ImageId>, ids: &[ImageId]) -> bool {
    image.is_some_and(|image| ids.contains(&image))
}

/// Whether a container lies between two others in age.
pub(crate) fn between(
    (created, own): (Timestamp, ContainerId),
    before: Option<(Boundary, ContainerId)>,
    since: Option<(Boundary, ContainerId)>,
) -> bool {
    before.is_none_or(|(at, id)| created < at.0 && own != id)
        && since.is_none_or(|(at, id)| created > at.0 && own != id)
}

/// Filters of volumes.
#[derive(Debug)]
pub(crate) struct Volumes {
    filters: Filters,
    names: Patterns,
    dangling: Option<bool>,
}

impl Volumes {
    pub(crate) fn parse(query: &Query) -> Result<Self, FilterError> {
        let filters = query.filters(&["dangling", "driver", "label", "label!", "name"])?;
        let names = Patterns::parse(&filters, "name")?;
        Ok(Self { dangling: filters.boolean("dangling")?, names, filters })
    }

    pub(crate) fn fits(&self, view: &VolumeView) -> bool {
        self.names.fit(&[&view.name])
            && self.filters.any("driver", |driver| driver == "local")
            && self.filters.labels_fit(&view.labels)
            && self.dangling.is_none_or(|dangling| dangling == view.used_by.is_empty())
    }
}

/// Filters of networks.
#[derive(Debug)]
pub(crate) struct Networks {
    filters: Filters,
    names: Patterns,
    dangling: Option<bool>,
}

impl Networks {
    pub(crate) fn parse(query: &Query) -> Result<Self, FilterError> {
        let filters = query
            .filters(&["dangling", "driver", "id", "label", "label!", "name", "scope", "type"])?;
        let names = Patterns::parse(&filters, "name")?;
        let is_kind = |kind: &&String| matches!(kind.as_str(), "custom" | "builtin");
        if let Some(bad) = filters.get("type").iter().find(|kind| !is_kind(kind)) {
            let why = "it is custom or builtin".to_owned();
            return Err(FilterError::Value { key: "type", value: bad.clone(), why });
        }
        Ok(Self { dangling: filters.boolean("dangling")?, names, filters })
    }

    pub(crate) fn fits(&self, view: &NetworkView) -> bool {
        let id = view.id.to_string();
        self.names.fit(&[&view.name])
            && self.filters.any("id", |prefix| id.starts_with(prefix))
            && self.filters.any("driver", |driver| *driver == view.driver)
            && self.filters.any("scope", |scope| scope == "local")
            && self.filters.any("type", |kind| (kind == "builtin") == view.is_built_in)
            && self.filters.labels_fit(&view.labels)
            && self
                .dangling
                .is_none_or(|dangling| dangling == (!view.is_built_in && view.members.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_the_host_are_what_is_published() {
        for (wanted, first, want) in [
            ("1001", 1000, true),
            ("900-1000", 1000, true),
            ("1002", 1000, false),
            ("999", 1000, false),
            ("1001/udp", 1000, false),
            ("0-1", 0, false),
        ] {
            let port = PublishedView {
                container: "80/tcp".parse().unwrap(),
                host_ip: "::".parse().unwrap(),
                host_port: first,
                count: 2,
            };
            assert_eq!(publishes(&port, Ports::parse(wanted).unwrap()), want, "{wanted} {first}");
        }
    }

    #[test]
    fn ports_fit_ranges_of_their_protocol() {
        for (wanted, port, protocol, want) in [
            ("80", 80, Protocol::Tcp, true),
            ("80", 80, Protocol::Udp, false),
            ("80/udp", 80, Protocol::Udp, true),
            ("80-90", 90, Protocol::Tcp, true),
            ("80-90/tcp", 91, Protocol::Tcp, false),
        ] {
            let ports = Ports::parse(wanted).unwrap();
            assert_eq!(ports.hold(port, protocol), want, "{wanted} {port}/{protocol}");
        }
    }

    #[test]
    fn values_that_nothing_can_have_are_refused() {
        for (filter, says) in [
            (
                r#"{"health":["foo"]}"#,
                "invalid filter 'health=foo': invalid value for health (foo): must be one of none, starting, healthy, unhealthy",
            ),
            (r#"{"publish":["x"]}"#, "invalid publish filter 'x': expected PORT[-PORT][/PROTOCOL]"),
            (
                r#"{"expose":["80/foo"]}"#,
                "invalid expose filter '80/foo': expected PORT[-PORT][/PROTOCOL]",
            ),
            (
                r#"{"publish":["90-80"]}"#,
                "invalid publish filter '90-80': expected PORT[-PORT][/PROTOCOL]",
            ),
            (r#"{"is-task":["maybe"]}"#, "invalid filter 'is-task=[maybe]'"),
        ] {
            let query = Query::parse(&format!("filters={filter}")).unwrap();
            assert_eq!(Containers::parse(&query).unwrap_err().to_string(), says, "{filter}");
        }
        let query = Query::parse(r#"filters={"type":["x"]}"#).unwrap();
        assert_eq!(
            Networks::parse(&query).unwrap_err().to_string(),
            "invalid filter 'type=x': it is custom or builtin"
        );
    }

    #[test]
    fn bad_states_name_the_good_ones() {
        let query = Query::parse(r#"filters={"status":["foo"]}"#).unwrap();
        assert_eq!(
            Containers::parse(&query).unwrap_err().to_string(),
            "invalid filter 'status=foo': invalid value for state (foo): must be one of created, running, paused, restarting, removing, exited, dead"
        );
    }

    #[test]
    fn patterns_are_judged_when_they_are_read() {
        let query = Query::parse(r#"filters={"name":["("]}"#).unwrap();
        assert!(matches!(
            Volumes::parse(&query).unwrap_err(),
            FilterError::Value { key: "name", .. }
        ));
    }
}
