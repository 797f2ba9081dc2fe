//! Paths: which operation a method and a path mean.
//!
//! One `match` on the segments of the decoded path. Slice patterns take names with slashes
//! (`images/localhost:5000/a/b:tag/json`) as well as plain ones, and there is no table to build,
//! which every run of the command line would pay for.

use http::Method;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use crate::params::{Query, moment};
use crate::quirks::ApiVersion;

/// An operation of the API, with the names from its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Ping,
    Version,
    Info,
    DiskUsage,
    BuildPrune,
    /// dhow's own: everything goes.
    Reset,
    /// dhow's own: what the dead have left goes.
    Reconcile,
    /// dhow's own: what should run is started.
    StartWished,
    Events,
    Options,
    ContainerList,
    ContainerCreate,
    ContainerPrune,
    Commit,
    Container(String, ContainerRoute),
    /// A container, and the name of one of its checkpoints.
    CheckpointRemove(String, String),
    /// dhow's own: it as an archive.
    CheckpointExport(String, String),
    /// dhow's own.
    CheckpointImport(String, String),
    Exec(String, ExecRoute),
    ImageList,
    ImagePrune,
    /// `GET /images/search`
    ImageSearch,
    /// `POST /auth`
    Login,
    /// `GET /distribution/{name}/json`
    Describe(String),
    ImageCreate,
    ImageLoad,
    ImagesSave,
    Image(String, ImageRoute),
    VolumeList,
    VolumePrune,
    VolumeCreate,
    VolumeInspect(String),
    VolumeRemove(String),
    /// Docker's, for volumes of a cluster.
    VolumeAvailability(String),
    /// dhow's own.
    VolumeClone(String),
    /// dhow's own: it as an archive.
    VolumeExport(String),
    /// dhow's own.
    VolumeImport(String),
    /// dhow's own.
    VolumeRename(String),
    /// dhow's own.
    VolumeUpdate(String),
    /// `GET /metrics`, of a service that shows them.
    Metrics,
    /// `GET /dhow/previous/{name}/logs`
    PreviousLogs(String),
    NetworkList,
    NetworkCreate,
    NetworkRemove(String),
    NetworkConnect(String),
    NetworkDisconnect(String),
    NetworkPrune,
    NetworkInspect(String),
    /// dhow's own: what is open to whom.
    Firewall,
    PluginList,
    Plugin(String),
    /// Needs a swarm, which this is never part of.
    Swarm,
    /// `POST /swarm/leave`
    SwarmLeave,
    /// An operation of Docker's that is not here yet.
    Later(&'static str),
}

impl Route {
    /// Whether it is served for as long as something lives, so that nobody waits for its end. A connection that is
    /// given to a container is none of HTTP's any more, and is not waited for either.
    pub(crate) fn lasts(&self, query: &Query, now: Timestamp) -> bool {
        use ContainerRoute as C;
        if *self == Self::Events {
            let until = query.get("until").and_then(|text| moment(text).ok().flatten());
            return until.is_none_or(|until| until > now);
        }
        let Self::Container(_, operation) = self else { return false };
        let is_followed = *operation == C::Logs && query.flag("follow");
        let is_streamed = *operation == C::Stats && query.flag_or("stream", true);
        is_followed || is_streamed || *operation == C::Wait
    }
}

/// Operations on one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContainerRoute {
    Inspect,
    Logs,
    Export,
    ArchiveStat,
    ArchiveGet,
    ArchivePut,
    Changes,
    Stats,
    Top,
    Resize,
    Start,
    Stop,
    Restart,
    Kill,
    Rename,
    Pause,
    Unpause,
    Update,
    Attach,
    AttachSocket,
    Wait,
    Remove,
    ExecCreate,
    /// dhow's own.
    ExecList,
    CheckpointCreate,
    CheckpointList,
}

/// Operations on one exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecRoute {
    Start,
    Resize,
    Inspect,
    /// dhow's own.
    Kill,
    /// dhow's own.
    Keep,
}

/// Operations on one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageRoute {
    Inspect,
    History,
    Tag,
    Remove,
    Save,
    Push,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The version in the path, if there is one.
    pub(crate) version: Option<ApiVersion>,
    /// `None`: there is no such operation.
    pub(crate) route: Option<Route>,
}

/// Reads a method and a path. Escapes are decoded before the path is taken apart, as Docker does.
pub(crate) fn target(method: &Method, path: &str) -> Target {
    let nowhere = Target { version: None, route: None };
    let Ok(path) = percent_decode_str(path).decode_utf8() else { return nowhere };
    if *method == Method::OPTIONS {
        return Target { version: None, route: Some(Route::Options) };
    }
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(&path).split('/').collect();
    let version = segments.first().and_then(|first| first.strip_prefix('v')?.parse().ok());
    let rest = if version.is_some() { &segments[1..] } else { &segments[..] };
    Target { version, route: route(method.as_str(), rest) }
}

fn route(method: &str, path: &[&str]) -> Option<Route> {
    match path.first().copied()? {
        "containers" => containers(method, &path[1..]),
        "exec" => exec(method, &path[1..]),
        "images" => images(method, &path[1..]),
        "volumes" => volumes(method, &path[1..]),
        "networks" => networks(method, &path[1..]),
        "swarm" | "nodes" | "services" | "tasks" | "secrets" | "configs" => swarm(method, path),
        "plugins" => plugins(method, &path[1..]),
        _ => system(method, path),
    }
}

fn system(method: &str, path: &[&str]) -> Option<Route> {
    Some(match (method, path) {
        ("GET" | "HEAD", ["_ping"]) => Route::Ping,
        ("GET", ["version"]) => Route::Version,
        ("GET", ["info"]) => Route::Info,
        ("POST", ["dhow", "reset"]) => Route::Reset,
        ("GET", ["dhow", "firewall"]) => Route::Firewall,
        ("GET", ["dhow", "previous", name, "logs"]) => Route::PreviousLogs((*name).to_owned()),
        ("POST", ["dhow", "reconcile"]) => Route::Reconcile,
        ("POST", ["dhow", "start"]) => Route::StartWished,
        ("GET", ["dhow", "containers", id, "checkpoints", name]) => {
            Route::CheckpointExport(id_of(id)?, (*name).to_owned())
        }
        ("PUT", ["dhow", "containers", id, "checkpoints", name]) => {
            Route::CheckpointImport(id_of(id)?, (*name).to_owned())
        }
        ("GET", ["dhow", "containers", id, "execs"]) => {
            Route::Container(id_of(id)?, ContainerRoute::ExecList)
        }
        ("POST", ["dhow", "exec", id, "kill"]) => Route::Exec(id_of(id)?, ExecRoute::Kill),
        ("POST", ["dhow", "exec", id, "keep"]) => Route::Exec(id_of(id)?, ExecRoute::Keep),
        ("GET", ["dhow", "volumes", name, "archive"]) => Route::VolumeExport(id_of(name)?),
        ("PUT", ["dhow", "volumes", name, "archive"]) => Route::VolumeImport(id_of(name)?),
        ("POST", ["dhow", "volumes", name, verb]) => own_volumes(id_of(name)?, verb)?,
        ("GET", ["events"]) => Route::Events,
        ("GET", ["metrics"]) => Route::Metrics,
        ("GET", ["system", "df"]) => Route::DiskUsage,
        ("POST", ["auth"]) => Route::Login,
        ("POST", ["build"]) => Route::Later("build"),
        ("POST", ["build", "prune"]) => Route::BuildPrune,
        ("POST", ["build", "cancel"]) => Route::Later("build"),
        ("POST", ["commit"]) => Route::Commit,
        ("POST", ["session" | "grpc"]) => Route::Later("build sessions"),
        ("GET", ["distribution", name @ .., "json"]) => Route::Describe(join(name)?),
        _ => return None,
    })
}

fn containers(method: &str, path: &[&str]) -> Option<Route> {
    use ContainerRoute as C;
    let (id, verb) = match (method, path) {
        ("GET", ["json"]) => return Some(Route::ContainerList),
        ("POST", ["create"]) => return Some(Route::ContainerCreate),
        ("POST", ["prune"]) => return Some(Route::ContainerPrune),
        ("GET", [id, "attach", "ws"]) => {
            return Some(Route::Container(id_of(id)?, C::AttachSocket));
        }
        ("DELETE", [id, "checkpoints", name @ ..]) => {
            return Some(Route::CheckpointRemove(id_of(id)?, join(name)?));
        }
        // A link's name has two parts.
        ("DELETE", name) => return Some(Route::Container(join(name)?, C::Remove)),
        (_, [id, verb]) => (id_of(id)?, *verb),
        _ => return None,
    };
    let operation = match (method, verb) {
        ("GET", "json") => C::Inspect,
        ("GET", "logs") => C::Logs,
        ("GET", "export") => C::Export,
        ("GET", "stats") => C::Stats,
        ("GET", "changes") => C::Changes,
        ("POST", "resize") => C::Resize,
        ("POST", "start") => C::Start,
        ("POST", "stop") => C::Stop,
        ("POST", "restart") => C::Restart,
        ("POST", "kill") => C::Kill,
        ("POST", "rename") => C::Rename,
        ("POST", "pause") => C::Pause,
        ("POST", "unpause") => C::Unpause,
        ("POST", "attach") => C::Attach,
        ("POST", "wait") => C::Wait,
        ("POST", "exec") => C::ExecCreate,
        ("POST", "checkpoints") => C::CheckpointCreate,
        ("GET", "checkpoints") => C::CheckpointList,
        ("GET", "top") => C::Top,
        ("POST", "update") => C::Update,
        ("HEAD", "archive") => C::ArchiveStat,
        ("GET", "archive") => C::ArchiveGet,
        ("PUT", "archive") => C::ArchivePut,
        _ => return None,
    };
    Some(Route::Container(id, operation))
}

fn exec(method: &str, path: &[&str]) -> Option<Route> {
    let (id, operation) = match (method, path) {
        ("POST", [id, "start"]) => (id, ExecRoute::Start),
        ("POST", [id, "resize"]) => (id, ExecRoute::Resize),
        ("GET", [id, "json"]) => (id, ExecRoute::Inspect),
        _ => return None,
    };
    Some(Route::Exec(id_of(id)?, operation))
}

fn images(method: &str, path: &[&str]) -> Option<Route> {
    let (name, operation) = match (method, path) {
        ("GET", ["json"]) => return Some(Route::ImageList),
        ("POST", ["create"]) => return Some(Route::ImageCreate),
        ("POST", ["load"]) => return Some(Route::ImageLoad),
        ("GET", ["get"]) => return Some(Route::ImagesSave),
        ("GET", ["search"]) => return Some(Route::ImageSearch),
        ("POST", ["prune"]) => return Some(Route::ImagePrune),
        ("GET", [name @ .., "json"]) => (name, ImageRoute::Inspect),
        ("GET", [name @ .., "history"]) => (name, ImageRoute::History),
        ("GET", [name @ .., "get"]) => (name, ImageRoute::Save),
        ("POST", [name @ .., "tag"]) => (name, ImageRoute::Tag),
        ("POST", [name @ .., "push"]) => (name, ImageRoute::Push),
        ("DELETE", name) => (name, ImageRoute::Remove),
        _ => return None,
    };
    Some(Route::Image(join(name)?, operation))
}

fn volumes(method: &str, path: &[&str]) -> Option<Route> {
    Some(match (method, path) {
        ("GET", [] | [""]) => Route::VolumeList,
        ("POST", ["create"]) => Route::VolumeCreate,
        ("POST", ["prune"]) => Route::VolumePrune,
        ("GET", name) => Route::VolumeInspect(join(name)?),
        ("DELETE", name) => Route::VolumeRemove(join(name)?),
        ("PUT", name) => Route::VolumeAvailability(join(name)?),
        _ => return None,
    })
}

/// What a swarm's engines have. This one could not begin or join a swarm; all else is answered as by one that
/// is in none.
fn swarm(method: &str, path: &[&str]) -> Option<Route> {
    Some(match (method, path) {
        ("POST", ["swarm", "init" | "join"]) => Route::Later("swarms"),
        ("POST", ["swarm", "leave"]) => Route::SwarmLeave,
        ("GET", ["swarm"] | ["swarm", "unlockkey"])
        | ("POST", ["swarm", "update" | "unlock"])
        | ("GET", ["nodes" | "services" | "tasks" | "secrets" | "configs"])
        | ("POST", ["services" | "secrets" | "configs", "create"]) => Route::Swarm,
        ("GET", ["nodes" | "services" | "tasks" | "secrets" | "configs", id])
        | ("DELETE", ["nodes" | "services" | "secrets" | "configs", id])
        | ("POST", ["nodes" | "services" | "secrets" | "configs", id, "update"])
        | ("GET", ["services" | "tasks", id, "logs"]) => {
            id_of(id)?;
            Route::Swarm
        }
        _ => return None,
    })
}

/// Plugins that an engine keeps. There are none.
fn plugins(method: &str, path: &[&str]) -> Option<Route> {
    Some(match (method, path) {
        ("GET", []) => Route::PluginList,
        ("GET", ["privileges"]) | ("POST", ["pull" | "create"]) => Route::Later("plugins"),
        ("GET", [name @ .., "json"])
        | ("POST", [name @ .., "enable" | "disable" | "upgrade" | "push" | "set"])
        | ("DELETE", name) => Route::Plugin(join(name)?),
        _ => return None,
    })
}

fn own_volumes(name: String, verb: &str) -> Option<Route> {
    match verb {
        "clone" => Some(Route::VolumeClone(name)),
        "rename" => Some(Route::VolumeRename(name)),
        "update" => Some(Route::VolumeUpdate(name)),
        _ => None,
    }
}

fn networks(method: &str, path: &[&str]) -> Option<Route> {
    Some(match (method, path) {
        ("GET", [] | [""]) => Route::NetworkList,
        ("POST", ["create"]) => Route::NetworkCreate,
        ("POST", ["prune"]) => Route::NetworkPrune,
        ("POST", [name, "connect"]) => Route::NetworkConnect(id_of(name)?),
        ("POST", [name, "disconnect"]) => Route::NetworkDisconnect(id_of(name)?),
        ("GET", name) => Route::NetworkInspect(join(name)?),
        ("DELETE", name) => Route::NetworkRemove(join(name)?),
        _ => return None,
    })
}

fn id_of(segment: &str) -> Option<String> {
    (!segment.is_empty()).then(|| segment.to_owned())
}

/// A name that the slashes in it had taken apart.
fn join(segments: &[&str]) -> Option<String> {
    id_of(&segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(method: &str, path: &str) -> Option<Route> {
        target(&method.parse().unwrap(), path).route
    }

    fn image(name: &str, operation: ImageRoute) -> Option<Route> {
        Some(Route::Image(name.to_owned(), operation))
    }

    #[test]
    fn every_path_is_also_below_a_version() {
        for path in ["/_ping", "/v1.24/_ping", "/v1.51/_ping", "/v9.9/_ping"] {
            assert_eq!(to("GET", path), Some(Route::Ping), "{path}");
        }
        assert_eq!(target(&Method::GET, "/v1.44/info").version, "1.44".parse().ok());
        assert_eq!(target(&Method::GET, "/info").version, None);
        assert_eq!(to("GET", "/v1/_ping"), Some(Route::Ping));
        assert_eq!(to("GET", "/v/_ping"), None);
        assert_eq!(to("GET", "/v1./_ping"), None);
    }

    #[test]
    fn names_of_images_may_have_slashes_also_encoded_ones() {
        let name = "localhost:5000/a/b:tag";
        assert_eq!(
            to("GET", "/images/localhost:5000/a/b:tag/json"),
            image(name, ImageRoute::Inspect)
        );
        assert_eq!(
            to("GET", "/v1.51/images/localhost:5000%2Fa%2Fb:tag/json"),
            image(name, ImageRoute::Inspect)
        );
        assert_eq!(to("DELETE", "/images/a/json"), image("a/json", ImageRoute::Remove));
        assert_eq!(to("GET", "/images/json"), Some(Route::ImageList));
        assert_eq!(to("GET", "/images/get/get"), image("get", ImageRoute::Save));
        assert_eq!(to("GET", "/images//json"), None);
    }

    #[test]
    fn what_is_not_there_is_not_there_whatever_the_reason() {
        for (method, path) in [
            ("GET", "/"),
            ("GET", ""),
            ("GET", "/nosuch"),
            ("POST", "/info"),
            ("GET", "/containers/create"),
            ("GET", "/containers/abc/start"),
            ("GET", "/containers/abc/json/"),
            ("GET", "/containers//json"),
            ("DELETE", "/containers/"),
            ("DELETE", "/volumes"),
            ("GET", "/containers/%ff/json"),
            ("PATCH", "/containers/abc/json"),
            ("PUT", "/services"),
            ("GET", "/secrets//"),
            ("GET", "/swarm/init"),
            ("DELETE", "/tasks/a"),
            ("DELETE", "/plugins/"),
            ("GET", "/plugins/a"),
        ] {
            assert_eq!(to(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn only_what_has_no_end_of_its_own_lasts() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let lasts = |method, path, query: &str| {
            to(method, path).unwrap().lasts(&Query::parse(query).unwrap(), now)
        };
        for (method, path, query, want) in [
            ("GET", "/events", "", true),
            ("GET", "/events", "until=1", false),
            ("GET", "/events", "until=4000000000", true),
            ("GET", "/containers/a/logs", "stdout=1", false),
            ("GET", "/containers/a/logs", "stdout=1&follow=1", true),
            ("GET", "/containers/a/stats", "", true),
            ("GET", "/containers/a/stats", "stream=0", false),
            ("POST", "/containers/a/wait", "", true),
            ("POST", "/containers/a/attach", "", false),
            ("POST", "/exec/a/start", "", false),
            ("POST", "/containers/a/stop", "", false),
        ] {
            assert_eq!(lasts(method, path, query), want, "{path}?{query}");
        }
    }

    #[test]
    fn every_operation_of_the_api_is_known() {
        // The groups of `swagger.yaml`, and what Docker's daemon serves beside it.
        const ALL: &str = "
            GET: containers/json containers/a/json containers/a/top containers/a/logs containers/a/changes \
                containers/a/export containers/a/stats containers/a/attach/ws containers/a/archive \
                containers/a/checkpoints images/json images/a/json images/a/history images/search images/a/get \
                images/get networks networks/ networks/a volumes volumes/a info version _ping events system/df \
                exec/a/json plugins plugins/privileges plugins/a/json distribution/a/json swarm swarm/unlockkey \
                nodes nodes/a services services/a services/a/logs tasks tasks/a tasks/a/logs secrets secrets/a \
                configs configs/a
            HEAD: _ping containers/a/archive
            PUT: containers/a/archive volumes/a
            DELETE: containers/a containers/a/checkpoints/b images/a networks/a volumes/a plugins/a nodes/a \
                services/a secrets/a configs/a
            OPTIONS: anything
            POST: containers/create containers/a/resize containers/a/start containers/a/stop containers/a/restart \
                containers/a/kill containers/a/update containers/a/rename containers/a/pause containers/a/unpause \
                containers/a/attach containers/a/wait containers/prune containers/a/exec containers/a/checkpoints \
                exec/a/start exec/a/resize build build/prune build/cancel images/create images/a/push images/a/tag \
                images/prune images/load commit networks/create networks/a/connect networks/a/disconnect \
                networks/prune volumes/create volumes/prune auth session grpc plugins/pull plugins/a/enable \
                plugins/a/disable plugins/a/upgrade plugins/create plugins/a/push plugins/a/set swarm/init \
                swarm/join swarm/leave swarm/update swarm/unlock nodes/a/update services/create services/a/update \
                secrets/create secrets/a/update configs/create configs/a/update";
        let mut count = 0;
        for line in ALL.trim().lines() {
            let (method, paths) = line.trim().split_once(": ").unwrap();
            for path in paths.split_whitespace() {
                assert!(to(method, &format!("/v1.51/{path}")).is_some(), "{method} {path}");
                count += 1;
            }
        }
        assert_eq!(count, 114);
    }

    #[test]
    fn the_routes_that_the_command_line_uses_are_there() {
        let container = |operation| Some(Route::Container("ab".to_owned(), operation));
        assert_eq!(to("POST", "/containers/ab/start"), container(ContainerRoute::Start));
        assert_eq!(to("DELETE", "/containers/ab"), container(ContainerRoute::Remove));
        let link = Route::Container("ab/link".to_owned(), ContainerRoute::Remove);
        assert_eq!(to("DELETE", "/containers/ab/link"), Some(link));
        assert_eq!(to("GET", "/containers/ab/attach/ws"), container(ContainerRoute::AttachSocket));
        assert_eq!(to("POST", "/containers/ab/exec"), container(ContainerRoute::ExecCreate));
        assert_eq!(to("POST", "/exec/ab/start"), Some(Route::Exec("ab".into(), ExecRoute::Start)));
        assert_eq!(to("HEAD", "/_ping"), Some(Route::Ping));
        assert_eq!(to("GET", "/networks/"), Some(Route::NetworkList));
        let connect = Some(Route::NetworkConnect("n".to_owned()));
        assert_eq!(to("POST", "/networks/n/connect"), connect);
        assert_eq!(to("POST", "/networks//disconnect"), None);
        assert_eq!(to("GET", "/volumes/x"), Some(Route::VolumeInspect("x".into())));
        assert_eq!(to("OPTIONS", "/anything"), Some(Route::Options));
        assert_eq!(to("GET", "/services"), Some(Route::Swarm));
        let removal = Route::CheckpointRemove("ab".into(), "../../x".into());
        assert_eq!(to("DELETE", "/containers/ab/checkpoints/..%2F..%2Fx"), Some(removal));
        assert_eq!(to("DELETE", "/containers/ab/checkpoints"), None);
        assert_eq!(to("HEAD", "/containers/ab/archive"), container(ContainerRoute::ArchiveStat));
        assert_eq!(to("PUT", "/containers/ab/archive"), container(ContainerRoute::ArchivePut));
    }
}
