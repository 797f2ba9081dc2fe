//! `state` and `list`: what containers do now.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use cgroup::{Cgroup, CgroupError, Hierarchies};
use serde::Serialize;

use super::arguments::{List, Shape};
use super::fault::Fault;
use super::record::{Group, Home, Place, Process, Record, Status};
use super::say;

/// The hierarchies of the host, found once: a verb asks for them several times.
pub(super) fn hierarchies() -> Result<&'static Hierarchies, Fault> {
    static FOUND: OnceLock<Hierarchies> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found);
    }
    let found = Hierarchies::detect()?;
    Ok(FOUND.get_or_init(|| found))
}

/// The control group of a container, and no later one of its path.
pub(super) fn cgroup(group: &Group) -> Result<Cgroup, Fault> {
    match Hierarchies::again(&group.noted()) {
        Some(hierarchies) => opened(&hierarchies, group),
        None => opened(hierarchies()?, group),
    }
}

/// Whether it is frozen, which two of the hierarchies tell.
fn is_frozen(group: &Group) -> Result<bool, Fault> {
    let cgroup = match Hierarchies::again_to_look(&group.noted()) {
        Some(hierarchies) => opened(&hierarchies, group),
        None => opened(hierarchies()?, group),
    };
    Ok(cgroup?.is_frozen()?)
}

fn opened(hierarchies: &Hierarchies, group: &Group) -> Result<Cgroup, Fault> {
    let cgroup = Cgroup::open(hierarchies, &group.parent, &group.name)?;
    if group.number == Some(cgroup.inode()?) {
        return Ok(cgroup);
    }
    Err(CgroupError::NotFound(cgroup.path().into()).into())
}

/// A look at what a container does, with what whoever goes on from there needs.
#[derive(Debug)]
pub(super) enum Seen {
    /// Its process waits, and has a visitor.
    Created {
        process: Process,
        visitor: OwnedFd,
    },
    Running,
    Paused,
    Stopped,
}

impl Seen {
    fn status(&self) -> Status {
        match self {
            Self::Created { .. } => Status::Created,
            Self::Running => Status::Running,
            Self::Paused => Status::Paused,
            Self::Stopped => Status::Stopped,
        }
    }
}

/// What it does.
pub(super) fn status(place: &Place, record: &Record) -> Result<Status, Fault> {
    Ok(look(place, record)?.status())
}

/// The same, by one who means to visit its process.
pub(super) fn look(place: &Place, record: &Record) -> Result<Seen, Fault> {
    let Some(process) = Process::find(record)? else { return Ok(Seen::Stopped) };
    // First of all: a frozen process opens to nobody.
    if is_frozen(&record.cgroup)? {
        return Ok(Seen::Paused);
    }
    Ok(match place.visit()? {
        Some(visitor) => Seen::Created { process, visitor },
        None => Seen::Running,
    })
}

/// The state as the specification has it, with what runc adds, in its order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    oci_version: String,
    id: String,
    pid: i32,
    status: Status,
    bundle: PathBuf,
    rootfs: PathBuf,
    created: String,
    annotations: BTreeMap<String, String>,
    owner: String,
}

fn shown(place: &Place, record: Record) -> Result<Shown, Fault> {
    let status = status(place, &record)?;
    Ok(Shown {
        pid: if status == Status::Stopped { 0 } else { record.pid },
        status,
        owner: owner(&record),
        oci_version: record.oci_version,
        id: record.id,
        bundle: record.bundle,
        rootfs: record.rootfs,
        created: record.created,
        annotations: record.annotations,
    })
}

impl Shown {
    fn row(self) -> [String; 6] {
        let bundle = self.bundle.display().to_string();
        [self.id, self.pid.to_string(), self.status.to_string(), bundle, self.created, self.owner]
    }
}

fn json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Output(error.into()))
}

/// Only the ordinary is known without asking a name service.
fn owner(record: &Record) -> String {
    if record.owner == 0 { "root".to_owned() } else { format!("#{}", record.owner) }
}

pub(super) fn state(home: &Home<'_>, id: &str) -> Result<(), Fault> {
    let place = home.find(id)?;
    let shown = shown(&place, place.record()?)?;
    let text = serde_json::to_string_pretty(&shown);
    say(&format!("{}\n", text.map_err(|error| Fault::Output(error.into()))?))
}

pub(super) fn list(home: &Home<'_>, args: &List) -> Result<(), Fault> {
    let mut all = Vec::new();
    for id in home.ids()? {
        // One that goes meanwhile is not told of, nor is one that is being made.
        match home.find(&id).and_then(|place| shown(&place, place.record()?)) {
            Ok(shown) => all.push(shown),
            Err(Fault::NoContainer) => {}
            Err(fault) => return Err(fault),
        }
    }
    if args.quiet {
        let ids: String = all.iter().map(|one| format!("{}\n", one.id)).collect();
        return say(&ids);
    }
    match args.format {
        Shape::Json => say(&format!("{}\n", json(&all)?)),
        Shape::Table => {
            let heads = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
            let mut rows = vec![heads.map(str::to_owned)];
            rows.extend(all.into_iter().map(Shown::row));
            say(&table(&rows))
        }
    }
}

/// Columns as wide as their widest cell and three spaces more, at least 12, as Go's tabwriter makes them.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].len() + 3).max().unwrap_or_default().max(12)
    };
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let is_last = column + 1 == N;
            let width = if is_last { 0 } else { width(column) };
            text.push_str(&format!("{cell:<width$}"));
        }
        text.push('\n');
    }
    text
}
