//! Mounts that an update adds and takes away: whether they suit a container, and what becomes of its
//! record. Pure.

use std::path::{Path, PathBuf};

use model::mount::{clean_target, parse_volume};

use super::{MountChanges, UpdateError};
use crate::bundle;
use crate::record::{Filling, NamedMount, Record};

/// What an update does to a container's mounts, parents before children.
#[derive(Debug, Default, PartialEq)]
pub(super) struct MountPlan {
    pub(super) added: Vec<NamedMount>,
    pub(super) removed: Vec<NamedMount>,
    /// Of these, what is not mounted any more.
    pub(super) gone: Vec<NamedMount>,
}

/// Whether what is there cannot be mounted anew in another order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Rest,
    Work,
}

/// Our own files, where the user does not mount theirs.
const ETC_FILES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// Finds the mounts that go, and sees to it that those which are `new` suit what stays.
pub(super) fn plan(
    record: &Record,
    rm: &[PathBuf],
    mut new: Vec<NamedMount>,
    at: At,
) -> Result<MountPlan, UpdateError> {
    let find = |target: &PathBuf| {
        let found = record.mounts.iter().find(|mount| mount.mount.target == *target);
        found.cloned().ok_or_else(|| UpdateError::NotMounted(target.clone()))
    };
    let mut removed = rm.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    removed.sort_by(|a, b| a.mount.target.cmp(&b.mount.target));
    removed.dedup();
    new.sort_by(|a, b| a.mount.target.cmp(&b.mount.target));
    let there = record.mounts.iter().map(target);
    for (index, mount) in new.iter().enumerate() {
        let mut before = there.clone().chain(new[..index].iter().map(target));
        if before.any(|other| other == mount.mount.target) {
            return Err(UpdateError::DuplicateMount(mount.mount.target.clone()));
        }
    }
    if at == At::Work {
        check_order(record, &removed, &new)?;
    }
    for mount in &mut new {
        mount.filling = if mount.volume.is_some() { Filling::Due } else { Filling::Done };
    }
    Ok(MountPlan { added: new, removed, gone: Vec::new() })
}

/// In a container that runs nothing can be mounted below what is there already, nor stay when that
/// goes.
fn check_order(
    record: &Record,
    removed: &[NamedMount],
    new: &[NamedMount],
) -> Result<(), UpdateError> {
    let is_below = |other: &Path, target: &Path| other != target && other.starts_with(target);
    let ours = bundle::STANDARD.iter().chain(&ETC_FILES).map(Path::new);
    for mount in new {
        let target = &mount.mount.target;
        let mut there = record.mounts.iter().map(self::target).chain(ours.clone());
        if let Some(below) = there.find(|other| is_below(other, target)) {
            return Err(UpdateError::Hides { target: target.clone(), below: below.to_owned() });
        }
    }
    for mount in removed {
        let target = &mount.mount.target;
        let goes = |other: &Path| removed.iter().any(|mount| mount.mount.target == other);
        let stays = record.mounts.iter().chain(new).map(self::target).filter(|other| !goes(other));
        if let Some(below) = stays.into_iter().find(|other| is_below(other, target)) {
            return Err(UpdateError::Holds { target: target.clone(), below: below.to_owned() });
        }
    }
    Ok(())
}

fn target(mount: &NamedMount) -> &Path {
    &mount.mount.target
}

/// Notes what is new, also as the user's wish.
pub(super) fn add(record: &mut Record, changes: &MountChanges, plan: &MountPlan) {
    record.mounts.extend(plan.added.iter().cloned());
    record.mounts.sort_by(|a, b| target(a).cmp(target(b)));
    let wishes = || plan.added.iter().map(|mount| mount.mount.clone());
    record.resolved.mounts.extend(wishes());
    record.resolved.mounts.sort_by(|a, b| a.target.cmp(&b.target));
    let files = &mut record.spec.files;
    files.mounts.extend(wishes());
    files.binds.extend(changes.binds.iter().cloned());
    files.asked.extend(changes.asked.iter().cloned());
}

/// Forgets what has gone, also what the user had wished.
pub(super) fn remove(record: &mut Record, gone: &[NamedMount]) {
    let stays = |at: &Path| !gone.iter().any(|mount| target(mount) == at);
    record.mounts.retain(|mount| stays(target(mount)));
    record.resolved.mounts.retain(|mount| stays(&mount.target));
    let files = &mut record.spec.files;
    files.mounts.retain(|mount| stays(&mount.target));
    files.binds.retain(|spec| parse_volume(spec).is_ok_and(|mount| stays(&mount.target)));
    files.tmpfs.retain(|typed, _| clean_target(typed).is_some_and(|target| stays(&target)));
    files.asked.retain(|text| asked_at(text).is_none_or(|target| stays(&target)));
    if let Some(start) = record.last_start_mut() {
        start.mounted.retain(|mounted| stays(&mounted.target));
        start.unseen.retain(|target| stays(target));
    }
}

/// Where the words of a door mount something; they say more, which is the door's affair.
fn asked_at(text: &str) -> Option<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Asked {
        #[serde(rename = "Target")]
        target: String,
    }
    clean_target(&serde_json::from_str::<Asked>(text).ok()?.target)
}

/// The volumes of `mounts` that a record does not use.
pub(super) fn unused(record: &Record, mounts: &[NamedMount]) -> Vec<String> {
    let is_used =
        |name: &String| record.mounts.iter().any(|mount| mount.volume.as_ref() == Some(name));
    mounts.iter().filter_map(|mount| mount.volume.clone()).filter(|name| !is_used(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let first = include_str!("../record/first.json");
        let mut record: Record = serde_json::from_str(first).unwrap();
        record.mounts.clear();
        record.spec.files.mounts.clear();
        record.spec.files.binds.clear();
        record.spec.files.tmpfs.clear();
        record.resolved.mounts.clear();
        record
    }

    fn named(spec: &str) -> NamedMount {
        let volume = spec.split_once(':').map(|(name, _)| name).filter(|n| !n.starts_with('/'));
        let volume = volume.map(str::to_owned);
        NamedMount {
            mount: parse_volume(spec).unwrap(),
            volume,
            image: None,
            filling: Filling::Done,
        }
    }

    fn planned(there: &[&str], rm: &[&str], new: &[&str], at: At) -> Result<String, String> {
        let mut record = record();
        record.mounts = there.iter().map(|spec| named(spec)).collect();
        let rm: Vec<PathBuf> = rm.iter().map(PathBuf::from).collect();
        let plan = plan(&record, &rm, new.iter().map(|spec| named(spec)).collect(), at);
        let plan = plan.map_err(|error| error.to_string())?;
        let shown = |mounts: &[NamedMount]| {
            let shown = mounts.iter().map(|m| target(m).display().to_string());
            shown.collect::<Vec<_>>().join(" ")
        };
        Ok(format!("+{} -{}", shown(&plan.added), shown(&plan.removed)))
    }

    #[test]
    fn one_place_has_one_mount() {
        let rest = |there, rm, new| planned(there, rm, new, At::Rest);
        assert_eq!(rest(&["/a:/x"], &["/x"], &["vol:/z", "/b:/y"]), Ok("+/y /z -/x".to_owned()));
        let duplicate = Err("Duplicate mount point: /x".to_owned());
        assert_eq!(rest(&["/a:/x"], &[], &["/b:/x"]), duplicate);
        assert_eq!(rest(&[], &[], &["/b:/x", "/c:/x"]), duplicate);
        assert_eq!(rest(&["/a:/x"], &["/y"], &[]), Err("nothing is mounted at /y".to_owned()));
    }

    #[test]
    fn what_runs_keeps_its_order() {
        let work = |there, rm, new| planned(there, rm, new, At::Work);
        for (there, rm, new, why) in [
            (&["/a:/x/y"][..], &[][..], &["/b:/x"][..], "a mount at /x would hide that at /x/y"),
            (&[], &[], &["/b:/etc"], "a mount at /etc would hide that at /etc/hosts"),
            (&[], &[], &["/b:/dev"], "a mount at /dev would hide that at /dev/pts"),
            (&["/a:/x", "/b:/x/y"], &["/x"], &[], "what is mounted at /x/y would go with /x"),
            (&["/a:/x"], &["/x"], &["/b:/x/y"], "what is mounted at /x/y would go with /x"),
        ] {
            let refused = work(there, rm, new).unwrap_err();
            assert!(refused.starts_with(why), "{refused}");
            assert!(planned(there, rm, new, At::Rest).is_ok(), "{why}");
        }
        assert!(work(&["/a:/x"], &[], &["/b:/x/y", "/c:/xy", "/d:/dev/shm"]).is_ok());
        assert!(work(&["/a:/x", "/b:/x/y"], &["/x", "/x/y"], &[]).is_ok());
    }

    #[test]
    fn a_record_has_what_is_new_and_forgets_what_goes() {
        let mut record = record();
        let added =
            MountPlan { added: vec![named("vol:/b"), named("/src:/a")], ..Default::default() };
        let asked = ["/a", "/b/"].map(|target| format!(r#"{{"Target":"{target}","Type":"bind"}}"#));
        let changes = MountChanges {
            binds: vec!["vol:/b".into(), "/src:/a".into()],
            asked: asked.to_vec(),
            ..Default::default()
        };
        add(&mut record, &changes, &added);
        let targets = |record: &Record| {
            record.mounts.iter().map(|m| target(m).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(targets(&record), [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(record.spec.files.binds, ["vol:/b", "/src:/a"]);
        assert!(unused(&record, &added.added).is_empty());
        let gone = [named("vol:/b")];
        remove(&mut record, &gone);
        assert_eq!(record.spec.files.asked, asked[..1]);
        assert_eq!(targets(&record), [PathBuf::from("/a")]);
        assert_eq!(record.spec.files.binds, ["/src:/a"]);
        assert_eq!((record.spec.files.mounts.len(), record.resolved.mounts.len()), (1, 1));
        assert_eq!(unused(&record, &gone), ["vol"]);
    }
}
