//! Names that the server knows: of containers in some state, of images, networks and volumes.

use super::{Beside, Candidate};
use crate::config::contexts;
use crate::cx::Cx;
use crate::table::short_id;
use docker_api::query::{Filters, ListContainers, ListImages};
use docker_api::types::containers::ContainerSummary;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// This word, which means something beside the names.
    Word(&'static str),
    Containers,
    /// Those that live: paused ones, and those that wait for a restart, among them.
    Running,
    /// Those that live and are not paused.
    Unpaused,
    Paused,
    /// Those that do not live.
    Stopped,
    /// `container:NAME`, of those that live.
    ContainerMode,
    /// `NAME:`, in front of a path; or a file of the host.
    ContainerPath,
    Images,
    Networks,
    Volumes,
    /// `NAME:`, in front of a path; or a directory of the host.
    VolumePlace,
    Contexts,
}

/// What the shell does beside.
pub(super) fn beside(kinds: &[Kind]) -> Beside {
    match kinds {
        [Kind::ContainerPath | Kind::VolumePlace] => Beside::Files,
        _ => Beside::Nothing,
    }
}

/// Asks for all of these. Ids are given too once a part of one is typed.
pub(super) async fn ask(cx: &Cx, kinds: &[Kind], typed: &str) -> Vec<Candidate> {
    let mut found = Vec::new();
    for kind in kinds {
        found.extend(one(cx, *kind, typed).await);
    }
    found
}

async fn one(cx: &Cx, kind: Kind, typed: &str) -> Vec<Candidate> {
    match kind {
        Kind::Word(word) => vec![(word.to_owned(), String::new())],
        Kind::Contexts => contexts(cx),
        Kind::Images => images(cx, typed).await,
        Kind::Networks => networks(cx, typed).await,
        Kind::Volumes => volumes(cx, "").await,
        // A path of the host is no volume.
        Kind::VolumePlace if typed.starts_with(['/', '.', '~']) => Vec::new(),
        Kind::VolumePlace => volumes(cx, ":").await,
        Kind::ContainerPath if typed.contains(['/', ':']) => Vec::new(),
        Kind::ContainerPath => around(containers(cx, |_| true, typed).await, "", ":"),
        Kind::ContainerMode => {
            around(containers(cx, is_alive, mode(typed)).await, "container:", "")
        }
        Kind::Containers => containers(cx, |_| true, typed).await,
        Kind::Running => containers(cx, is_alive, typed).await,
        Kind::Unpaused => containers(cx, |state| is_alive(state) && state != "paused", typed).await,
        Kind::Paused => containers(cx, |state| state == "paused", typed).await,
        Kind::Stopped => containers(cx, |state| !is_alive(state), typed).await,
    }
}

/// What is typed behind `container:`.
fn mode(typed: &str) -> &str {
    typed.strip_prefix("container:").unwrap_or_default()
}

fn around(names: Vec<Candidate>, before: &str, behind: &str) -> Vec<Candidate> {
    names.into_iter().map(|(name, about)| (format!("{before}{name}{behind}"), about)).collect()
}

fn is_alive(state: &str) -> bool {
    matches!(state, "running" | "paused" | "restarting")
}

async fn containers(cx: &Cx, fits: fn(&str) -> bool, typed: &str) -> Vec<Candidate> {
    let Ok(client) = cx.client() else { return Vec::new() };
    // Those that stand still are read only if one of them can fit.
    let query = ListContainers { all: fits("exited"), ..ListContainers::default() };
    let list = client.container_list(&query).await.unwrap_or_default();
    let fitting = list.iter().filter(|container| fits(&container.state));
    fitting.flat_map(|container| of_container(container, typed)).collect()
}

fn of_container(container: &ContainerSummary, typed: &str) -> Vec<Candidate> {
    let about = format!("{}, {}", container.image, container.status);
    let name = container.names.iter().map(|name| name.trim_start_matches('/').to_owned());
    let mut found: Vec<Candidate> = name.map(|name| (name, about.clone())).collect();
    found.extend(id(&container.id, typed).map(|id| (id, about)));
    found
}

/// An id that begins with what is typed, as much of it as lists show.
fn id(id: &str, typed: &str) -> Option<String> {
    let short = short_id(id);
    (!typed.is_empty() && short.starts_with(typed)).then(|| short.to_owned())
}

async fn images(cx: &Cx, typed: &str) -> Vec<Candidate> {
    let Ok(client) = cx.client() else { return Vec::new() };
    let list = client.image_list(&ListImages::default()).await.unwrap_or_default();
    let candidates = list.iter().flat_map(|image| {
        let names = image.repo_tags.iter().cloned();
        names.chain(id(&image.id, typed)).map(|name| (name, String::new()))
    });
    candidates.collect()
}

async fn networks(cx: &Cx, typed: &str) -> Vec<Candidate> {
    let Ok(client) = cx.client() else { return Vec::new() };
    let list = client.network_list(&Filters::default()).await.unwrap_or_default();
    let candidates = list.into_iter().flat_map(|network| {
        let about = network.driver;
        let id = id(&network.id, typed);
        std::iter::once(network.name).chain(id).map(move |name| (name, about.clone()))
    });
    candidates.collect()
}

async fn volumes(cx: &Cx, behind: &str) -> Vec<Candidate> {
    let Ok(client) = cx.client() else { return Vec::new() };
    let list = client.volume_list(&Filters::default()).await.unwrap_or_default();
    list.volumes.into_iter().map(|v| (format!("{}{behind}", v.name), String::new())).collect()
}

fn contexts(cx: &Cx) -> Vec<Candidate> {
    let named = contexts::all(cx.config.directory());
    let default = (contexts::DEFAULT.to_owned(), String::new());
    let named = named.into_iter().map(|context| (context.name, context.description));
    std::iter::once(default).chain(named).collect()
}
