//! `state` and `list`: what containers do now.

use std::sync::OnceLock;

use cgroup::{Cgroup, CgroupError, Hierarchies};
use serde_json::json;

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
    let cgroup = Cgroup::open(hierarchies()?, &group.parent, &group.name)?;
    if group.number == Some(cgroup.inode()?) {
        return Ok(cgroup);
    }
    Err(CgroupError::NotFound(cgroup.path().into()).into())
}

/// What it does.
pub(super) fn status(place: &Place, record: &Record) -> Result<Status, Fault> {
    if Process::find(record)?.is_none() {
        return Ok(Status::Stopped);
    }
    // First of all: a frozen process opens to nobody.
    if cgroup(&record.cgroup)?.is_frozen()? {
        return Ok(Status::Paused);
    }
    Ok(if place.is_waited_at()? { Status::Created } else { Status::Running })
}

/// The state as the specification has it, with what runc adds.
fn shown(place: &Place, record: &Record) -> Result<serde_json::Value, Fault> {
    let status = status(place, record)?;
    let pid = if status == Status::Stopped { 0 } else { record.pid };
    Ok(json!({
        "ociVersion": record.oci_version,
        "id": record.id,
        "pid": pid,
        "status": status,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "annotations": record.annotations,
        "owner": owner(record),
    }))
}

/// Only the ordinary is known without asking a name service.
fn owner(record: &Record) -> String {
    if record.owner == 0 { "root".to_owned() } else { format!("#{}", record.owner) }
}

pub(super) fn state(home: &Home<'_>, id: &str) -> Result<(), Fault> {
    let place = home.find(id)?;
    let shown = shown(&place, &place.record()?)?;
    say(&format!("{shown:#}\n"))
}

pub(super) fn list(home: &Home<'_>, args: &List) -> Result<(), Fault> {
    let mut all = Vec::new();
    for id in home.ids()? {
        // One that goes meanwhile is not told of, nor is one that is being made.
        match home.find(&id).and_then(|place| shown(&place, &place.record()?)) {
            Ok(shown) => all.push(shown),
            Err(Fault::NoContainer) => {}
            Err(fault) => return Err(fault),
        }
    }
    let text =
        |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if args.quiet {
        let ids: String = all.iter().map(|one| format!("{}\n", text(&one["id"]))).collect();
        return say(&ids);
    }
    match args.format {
        Shape::Json => say(&format!("{}\n", serde_json::Value::Array(all))),
        Shape::Table => {
            let heads = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
            let mut rows = vec![heads.map(str::to_owned)];
            rows.extend(all.iter().map(|one| heads.map(|head| text(&one[head.to_lowercase()]))));
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
