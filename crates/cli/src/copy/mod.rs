//! Copies between this machine and containers, and between containers: what is asked of the server
//! in which order.
//!
//! `rules` decides, `local` knows this machine, `stream` carries bytes, and the archives are read and
//! written by whoever was wired in.

pub(crate) mod local;
mod path;
mod progress;
pub(crate) mod rules;
mod stream;

use bytes::Bytes;
use docker_api::Client;
use docker_api::query::PutArchive;
use docker_api::stream::{ByteStream, Upload};
use docker_api::types::containers::PathStat;
use std::io::Write as _;

use crate::archives::{LocalPart, LocalTarget, Renaming};
use crate::cx::Cx;
use crate::error::Failure;
use local::Links;
use progress::Progress;
use rules::{Destination, Plan, Source, There};
use stream::{Counted, Sender};

/// How things are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct How {
    pub(crate) links: Links,
    /// `-a`: what is copied into a container belongs to its user.
    pub(crate) owner: Owner,
    pub(crate) talk: Talk,
}

/// Whom what is copied into a container belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The number that it has where it comes from.
    Kept,
    /// The container's user.
    ContainersUser,
}

/// Whether the user is told how it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Talk {
    Quiet,
    Progress,
}

/// A path of a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) container: &'a str,
    pub(crate) path: &'a str,
}

/// From a container to a path here; `-` is standard output.
pub(crate) async fn from_container(cx: &Cx, at: At<'_>, to: &str, how: How) -> Result<(), Failure> {
    let to = if to == "-" { to.to_owned() } else { local::absolute(to)? };
    local::check_output(&to)?;
    let client = cx.client()?;
    let (path, called) = followed(client, at, how.links).await;
    let (stat, mut archive) = client.container_archive(at.container, &path).await?;
    if to == "-" {
        return print(archive).await;
    }
    let source = Source { path, is_dir: stat.is_dir(), called };
    let plan = rules::plan(&source, &local::destination(&to)?).map_err(objection)?;
    let target = LocalTarget { dir: plan.dir.into(), renaming: plan.renaming };
    let progress = Progress::begin(how.talk, "from");
    let (send, mut receive) = stream::pipe();
    let unpack = cx.archives.unpack;
    let unpacking = tokio::task::spawn_blocking(move || unpack(&mut receive, &target));
    let carried = carry(&mut archive, send, &progress).await;
    let unpacked = ended(unpacking).await?;
    // What the server breaks off is the cause of what the other side says.
    carried?;
    unpacked.map_err(Failure::error)?;
    progress.end(&to);
    Ok(())
}

/// From a path here to a container; `-` is an archive on standard input.
pub(crate) async fn to_container(cx: &Cx, from: &str, at: At<'_>, how: How) -> Result<(), Failure> {
    let typed = if from == "-" { from.to_owned() } else { local::absolute(from)? };
    let client = cx.client()?;
    let to = destination(client, at).await?;
    if from == "-" {
        if to.there != There::Directory {
            let At { container, path } = at;
            return Err(Failure::error(format!(
                "destination \"{container}:{path}\" must be a directory"
            )));
        }
        let put = put(&to.path, how);
        let archive = Upload::blocking(std::io::stdin());
        return Ok(client.container_put_archive(at.container, &put, archive).await?);
    }
    let source = local::source(&typed, how.links)?;
    let Plan { dir, renaming } = match rules::plan(&source, &to) {
        Ok(plan) => plan,
        Err(no) => return Err(unfit(client, at, no).await),
    };
    let (parent, base) = path::split(&source.path);
    let part = LocalPart { dir: parent.into(), base, called: renaming.to };
    let progress = Progress::begin(how.talk, "to");
    let (mut send, receive) = stream::pipe();
    let pack = cx.archives.pack;
    let packing = tokio::task::spawn_blocking(move || -> Result<(), String> {
        pack(&part, &mut send)?;
        send.end_here().map_err(|e| e.to_string())
    });
    let archive = Counted { inner: receive, count: progress.count() };
    let put = put(&dir, how);
    let sent = client.container_put_archive(at.container, &put, Upload::blocking(archive));
    let sent = progress.beside(sent).await;
    told(sent, ended(packing).await?)?;
    progress.end(&format!("{}:{}", at.container, to.path));
    Ok(())
}

/// From a container to a container.
pub(crate) async fn between(cx: &Cx, from: At<'_>, to: At<'_>, how: How) -> Result<(), Failure> {
    let client = cx.client()?;
    let target = destination(client, to).await?;
    let (path, called) = followed(client, from, how.links).await;
    let (stat, mut archive) = client.container_archive(from.container, &path).await?;
    let source = Source { path, is_dir: stat.is_dir(), called };
    let Plan { dir, renaming } = match rules::plan(&source, &target) {
        Ok(plan) => plan,
        Err(no) => return Err(unfit(client, to, no).await),
    };
    let progress = Progress::begin(how.talk, "to");
    let (send, receive) = stream::pipe();
    let (reader, renamed) = renaming_pipe(cx, receive, renaming);
    let archive_in = Counted { inner: reader, count: progress.count() };
    let put = put(&dir, how);
    let sent = client.container_put_archive(to.container, &put, Upload::blocking(archive_in));
    let silent = Progress::begin(Talk::Quiet, "to");
    let (sent, carried) = tokio::join!(progress.beside(sent), carry(&mut archive, send, &silent));
    let renamed = ended(renamed).await?;
    if !matches!(sent, Err(docker_api::ApiError::Refused { .. })) {
        carried?;
    }
    told(sent, renamed)?;
    progress.end(&format!("{}:{}", to.container, target.path));
    Ok(())
}

type Work = tokio::task::JoinHandle<Result<(), String>>;

/// An archive under another name, made on a thread of its own.
fn renaming_pipe(
    cx: &Cx,
    mut archive: stream::Receiver,
    renaming: Renaming,
) -> (stream::Receiver, Work) {
    let (mut send, receive) = stream::pipe();
    let rename = cx.archives.rename;
    let work = tokio::task::spawn_blocking(move || -> Result<(), String> {
        rename(&mut archive, &renaming, &mut send)?;
        send.end_here().map_err(|e| e.to_string())
    });
    (receive, work)
}

/// What the server refuses is the reason why nobody reads what is packed any more; otherwise what
/// goes wrong in packing is why the server was sent no more.
fn told(sent: Result<(), docker_api::ApiError>, packed: Result<(), String>) -> Result<(), Failure> {
    match (sent, packed) {
        (Err(error @ docker_api::ApiError::Refused { .. }), _) => Err(error.into()),
        (_, Err(error)) => Err(Failure::error(error)),
        (sent, Ok(())) => Ok(sent?),
    }
}

async fn ended(work: Work) -> Result<Result<(), String>, Failure> {
    work.await.map_err(|e| Failure::error(e.to_string()))
}

fn put(path: &str, how: How) -> PutArchive {
    let copy_owner = how.owner == Owner::ContainersUser;
    PutArchive { path: path.to_owned(), keep_kinds: true, copy_owner }
}

fn objection(objection: rules::Objection) -> Failure {
    Failure::error(objection.to_string())
}

/// Why nothing can be copied there: nothing fits into a container that is not there.
async fn unfit(client: &Client, at: At<'_>, no: rules::Objection) -> Failure {
    match client.container_inspect(at.container).await {
        Ok(_) => objection(no),
        Err(missing) => missing.into(),
    }
}

/// With `-L` what a symlink leads to, and what it shall be called. What cannot be found out is left
/// to the request for the archive, which says why.
async fn followed(client: &Client, at: At<'_>, links: Links) -> (String, Option<String>) {
    let stay = (at.path.to_owned(), None);
    if links == Links::Copy {
        return stay;
    }
    match client.container_path_stat(at.container, at.path).await {
        Ok(stat) if stat.is_link() => {
            rules::behind_link(at.path, rules::link_target(at.path, &stat.link_target))
        }
        Ok(_) | Err(_) => stay,
    }
}

/// What is at a path of a container; a symlink is followed. That nothing can be found out about it
/// counts as that nothing is there: the copy itself says what is wrong.
async fn destination(client: &Client, at: At<'_>) -> Result<Destination, Failure> {
    let mut path = at.path.to_owned();
    let mut found = client.container_path_stat(at.container, &path).await.ok();
    if let Some(link) = found.as_ref().filter(|stat| stat.is_link()) {
        path = rules::link_target(&path, &link.link_target);
        found = client.container_path_stat(at.container, &path).await.ok();
    }
    if found.as_ref().is_some_and(PathStat::is_device) {
        let At { container, path } = at;
        return Err(Failure::error(format!(
            "destination \"{container}:{path}\" must be a directory or a regular file: got a device"
        )));
    }
    let there = match found {
        None => There::Nothing,
        Some(stat) if stat.is_dir() => There::Directory,
        Some(_) => There::Other,
    };
    Ok(Destination { path, there })
}

async fn print(mut archive: ByteStream) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    while let Some(bytes) = archive.next().await? {
        out.write_all(&bytes)?;
    }
    Ok(out.flush()?)
}

/// Carries an archive to its reader. One that reads no more has its reasons.
async fn carry(
    archive: &mut ByteStream,
    send: Sender,
    progress: &Progress,
) -> Result<(), docker_api::ApiError> {
    while let Some(bytes) = archive.next().await? {
        progress.passed(&bytes);
        if !send.send(bytes).await {
            return Ok(());
        }
    }
    send.end().await;
    Ok(())
}

impl Progress {
    fn passed(&self, bytes: &Bytes) {
        self.count().add(bytes.len());
        self.show();
    }
}
