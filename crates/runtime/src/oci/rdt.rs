//! `linux.intelRdt`: shares of caches and of memory bandwidth, by the kernel's resctrl file system.
//!
//! Deciding is pure (`plan`); what is then made, written and entered is a few files of a directory. Who mounts resctrl,
//! and with which options, is the host's affair.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxIntelRdt;
use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// Names that resctrl itself has.
const RESERVED: [&str; 5] = [".", "..", "info", "mon_data", "mon_groups"];

/// What a container asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    class: Class,
    /// Lines of `schemata`, in their order.
    lines: Vec<String>,
    /// The name of the group that it is watched in, if it is.
    watched: Option<String>,
}

/// The class of service that its processes are in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Class {
    /// The one that everybody is in at first.
    Default,
    /// One of this name, which may be there.
    Named(String),
    /// One that comes and goes with the container.
    Own(String),
}

/// Directories of resctrl that a container is in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Groups {
    /// Whose `tasks` its processes are written to, in this order.
    pub(super) entered: Vec<PathBuf>,
    /// Those that go with it, in this order.
    pub(super) made: Vec<PathBuf>,
}

/// Reads it, for a container of this id.
pub(super) fn plan(asked: &LinuxIntelRdt, id: &str) -> Result<Plan, Fault> {
    let wrong = |text: String| Fault::Config(format!("linux.intelRdt.{text}"));
    let class = match asked.clos_id().as_deref() {
        None | Some("") => Class::Own(id.to_owned()),
        Some("/") => Class::Default,
        Some(name) if name.contains(['/', '\n', '\0']) || RESERVED.contains(&name) => {
            return Err(wrong(format!("closID: {name:?} is no name of a class")));
        }
        Some(name) => Class::Named(name.to_owned()),
    };
    if matches!(&class, Class::Own(id) if RESERVED.contains(&id.as_str())) {
        return Err(wrong(format!("closID is missing, and {id:?} is no name of a class")));
    }
    let mut lines = Vec::new();
    // They are written in this order (config-linux.md, "IntelRdt").
    lines.extend(asked.l3_cache_schema().clone().filter(|line| !line.is_empty()));
    if let Some(line) = asked.mem_bw_schema().as_ref().filter(|line| !line.is_empty()) {
        if !line.starts_with("MB:") {
            return Err(wrong(format!("memBwSchema: {line:?} does not start with \"MB:\"")));
        }
        lines.push(line.clone());
    }
    lines.extend(asked.schemata().iter().flatten().cloned());
    if let Some(line) = lines.iter().find(|line| line.contains('\n')) {
        return Err(wrong(format!("schemata: {line:?} is more than one line")));
    }
    let watched = asked.enable_monitoring().unwrap_or(false).then(|| id.to_owned());
    Ok(Plan { class, lines, watched })
}

/// Where resctrl is mounted, as a list of mounts has it.
pub(super) fn root(table: &[u8]) -> Result<PathBuf, Fault> {
    let mounted = sys::mount_table::entries(table).find(|entry| entry.kind == b"resctrl");
    mounted.map(|entry| entry.path()).ok_or_else(|| {
        Fault::config(
            "linux.intelRdt needs the file system resctrl, which is not mounted: `mount -t resctrl resctrl /sys/fs/resctrl`, on a host whose processors share out their caches",
        )
    })
}

impl Plan {
    /// The directories, before any is made.
    pub(super) fn groups(&self, root: &Path) -> Groups {
        let (class, own) = match &self.class {
            Class::Default => (root.to_owned(), false),
            Class::Named(name) => (root.join(name), false),
            Class::Own(name) => (root.join(name), true),
        };
        let watched = self.watched.as_ref().map(|name| class.join("mon_groups").join(name));
        // A process is watched within its class alone.
        let entered = [class.clone()].into_iter().chain(watched.clone()).collect();
        Groups { entered, made: watched.into_iter().chain(own.then_some(class)).collect() }
    }

    /// Looks whether it can be, before anything is made: what would go with the container must not be there, since it
    /// is somebody else's.
    pub(super) fn check(&self, groups: &Groups) -> Result<(), Fault> {
        if let Some(there) = groups.made.iter().find(|group| group.exists()) {
            return Err(Fault::file("make", there)(ErrorKind::AlreadyExists.into()));
        }
        let Some(class) = groups.entered.first() else { return Ok(()) };
        match &self.class {
            Class::Default | Class::Named(_) if class.exists() => self.compare(class),
            Class::Named(name) if self.lines.is_empty() => Err(Fault::Config(format!(
                "linux.intelRdt.closID: there is no class {name:?}, and nothing is said of what it would have"
            ))),
            Class::Default | Class::Named(_) | Class::Own(_) => Ok(()),
        }
    }

    /// Makes what is not there. What is made goes again if the rest fails.
    pub(super) fn make(&self, groups: &Groups) -> Result<(), Fault> {
        let Some(class) = groups.entered.first() else { return Ok(()) };
        let is_new = !class.exists();
        if is_new {
            fs::create_dir(class).map_err(Fault::file("make", class))?;
        }
        let made = self.fill(class, is_new).and_then(|()| {
            let watched = groups.entered.get(1);
            watched.map_or(Ok(()), |path| fs::create_dir(path).map_err(Fault::file("make", path)))
        });
        if made.is_err() && is_new {
            // The first failure is the one to tell.
            let _ = fs::remove_dir(class);
        }
        made
    }

    fn fill(&self, class: &Path, is_new: bool) -> Result<(), Fault> {
        if self.lines.is_empty() || !is_new {
            return Ok(());
        }
        let schemata = class.join("schemata");
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        write(&schemata, &text).map_err(|error| {
            // In the kernel's words.
            let status = class.ancestors().map(|above| above.join("info/last_cmd_status"));
            let why = status.take(2).find_map(|path| fs::read_to_string(path).ok());
            let why = why.unwrap_or_default();
            Fault::Config(format!(
                "linux.intelRdt: write {}: {error}: {}",
                schemata.display(),
                why.trim()
            ))
        })
    }

    /// A class that is there is not changed: others may be in it.
    fn compare(&self, class: &Path) -> Result<(), Fault> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let path = class.join("schemata");
        let text = fs::read_to_string(&path).map_err(Fault::file("read", &path))?;
        let there: Vec<Schema<'_>> = text.lines().filter_map(schema).collect();
        let differs = |line: &&String| match schema(line) {
            Some((resource, wanted)) => !there.iter().any(|(name, domains)| {
                *name == resource && wanted.iter().all(|domain| domains.contains(domain))
            }),
            None => true,
        };
        match self.lines.iter().find(differs) {
            Some(line) => Err(Fault::Config(format!(
                "linux.intelRdt: {line:?} is not what the class {} has",
                class.display()
            ))),
            None => Ok(()),
        }
    }
}

/// A line of `schemata`: its resource, and for each domain what it has.
type Schema<'a> = (&'a str, Vec<(&'a str, &'a str)>);

/// The kernel pads names and values to columns, with blanks and, in masks, with zeros.
fn schema(line: &str) -> Option<Schema<'_>> {
    let (resource, domains) = line.split_once(':')?;
    let domains = domains.split(';').map(|domain| {
        let (id, value) = domain.split_once('=')?;
        let value = value.trim().trim_start_matches('0');
        Some((id.trim(), if value.is_empty() { "0" } else { value }))
    });
    Some((resource.trim(), domains.collect::<Option<_>>()?))
}

impl Groups {
    /// Lets a process in, and all that it will start; 0 is the one that asks.
    pub(super) fn enter(&self, pid: u32) -> Result<(), Fault> {
        self.entered.iter().try_for_each(|group| {
            let tasks = group.join("tasks");
            write(&tasks, &pid.to_string()).map_err(Fault::file("write", tasks))
        })
    }

    /// Takes away what goes with the container.
    pub(super) fn remove(&self) -> Result<(), Fault> {
        self.made.iter().try_for_each(|group| match fs::remove_dir(group) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Fault::file("remove", group)(error))
            }
            _ => Ok(()),
        })
    }
}

/// Files of resctrl take a text in one write or not at all.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> LinuxIntelRdt {
        serde_json::from_str(text).unwrap()
    }

    fn planned(text: &str) -> Plan {
        plan(&asked(text), "c1").unwrap()
    }

    fn relative(root: &Path, paths: &[PathBuf]) -> String {
        let paths = paths.iter().map(|path| path.strip_prefix(root).unwrap().to_str().unwrap());
        paths.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn classes_and_who_goes_with_the_container() {
        let root = Path::new("/r");
        let shown = |text: &str| {
            let groups = planned(text).groups(root);
            (relative(root, &groups.entered), relative(root, &groups.made))
        };
        let pair = |entered: &str, made: &str| (entered.to_owned(), made.to_owned());
        assert_eq!(shown("{}"), pair("c1", "c1"));
        assert_eq!(shown(r#"{"closID":"gold"}"#), pair("gold", ""));
        assert_eq!(shown(r#"{"closID":"/"}"#), pair("", ""));
        assert_eq!(
            shown(r#"{"enableMonitoring":true}"#),
            pair("c1 c1/mon_groups/c1", "c1/mon_groups/c1 c1")
        );
        assert_eq!(
            shown(r#"{"closID":"/","enableMonitoring":true}"#),
            pair(" mon_groups/c1", "mon_groups/c1")
        );
    }

    #[test]
    fn what_is_no_name_or_no_line_is_refused() {
        for (text, why) in [
            (r#"{"closID":"../x"}"#, "is no name"),
            (r#"{"closID":"info"}"#, "is no name"),
            (r#"{"closID":".."}"#, "is no name"),
            (r#"{"memBwSchema":"L3:0=1"}"#, "does not start with"),
            (r#"{"schemata":["L3:0=1\nMB:0=9"]}"#, "more than one line"),
        ] {
            let told = plan(&asked(text), "c1").unwrap_err().to_string();
            assert!(told.starts_with("linux.intelRdt.") && told.contains(why), "{told}");
        }
        assert!(plan(&asked("{}"), "mon_groups").is_err());
    }

    #[test]
    fn the_file_system_is_found_where_it_is_mounted() {
        let table = b"22 1 0:5 / /sys rw - sysfs sysfs rw\n31 22 0:27 / /sys/fs/resctrl rw - resctrl resctrl rw\n";
        assert_eq!(root(table).unwrap(), Path::new("/sys/fs/resctrl"));
        let told = root(&table[..40]).unwrap_err().to_string();
        assert!(told.contains("linux.intelRdt needs the file system resctrl"), "{told}");
    }

    #[test]
    fn a_class_of_its_own_is_made_filled_entered_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let plan =
            planned(r#"{"memBwSchema":"MB:0=20","l3CacheSchema":"L3:0=f","schemata":["L2:0=3"]}"#);
        let groups = plan.groups(root.path());
        plan.check(&groups).unwrap();
        plan.make(&groups).unwrap();
        groups.enter(77).unwrap();
        let read = |name: &str| fs::read_to_string(root.path().join("c1").join(name)).unwrap();
        assert_eq!(read("schemata"), "L3:0=f\nMB:0=20\nL2:0=3\n");
        assert_eq!(read("tasks"), "77");
        // It is another container's by now.
        assert!(plan.check(&groups).unwrap_err().to_string().starts_with("make "));
        for name in ["schemata", "tasks"] {
            fs::remove_file(root.path().join("c1").join(name)).unwrap();
        }
        groups.remove().unwrap();
        assert!(!root.path().join("c1").exists());
        groups.remove().unwrap();
    }

    #[test]
    fn a_container_is_watched_within_its_class() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("gold/mon_groups")).unwrap();
        let plan = planned(r#"{"closID":"gold","enableMonitoring":true}"#);
        let groups = plan.groups(root.path());
        plan.check(&groups).unwrap();
        plan.make(&groups).unwrap();
        groups.enter(5).unwrap();
        let tasks = root.path().join("gold/mon_groups/c1/tasks");
        assert_eq!(fs::read_to_string(&tasks).unwrap(), "5");
        fs::remove_file(tasks).unwrap();
        groups.remove().unwrap();
        assert!(root.path().join("gold/tasks").exists(), "the class is not the container's");
        assert!(!root.path().join("gold/mon_groups/c1").exists());
    }

    #[test]
    fn a_class_that_is_there_is_compared_and_not_changed() {
        let root = tempfile::tempdir().unwrap();
        let class = root.path().join("gold");
        let checked = |text: &str| {
            let plan = planned(text);
            plan.check(&plan.groups(root.path())).map_err(|fault| fault.to_string())
        };
        let told = checked(r#"{"closID":"gold"}"#).unwrap_err();
        assert!(told.contains("there is no class \"gold\""), "{told}");
        checked(r#"{"closID":"gold","l3CacheSchema":"L3:0=f"}"#).unwrap();
        fs::create_dir(&class).unwrap();
        let there = "    MB:0= 20;1=100\n    L3:0=00f;1=7ff\n";
        fs::write(class.join("schemata"), there).unwrap();
        checked(r#"{"closID":"gold"}"#).unwrap();
        checked(r#"{"closID":"gold","l3CacheSchema":"L3:1=7ff;0=f","memBwSchema":"MB:0=20"}"#)
            .unwrap();
        for other in ["L3:0=1f", "L3:2=f", "L2:0=f", "L3"] {
            let text = format!(r#"{{"closID":"gold","schemata":["{other}"]}}"#);
            let told = checked(&text).unwrap_err();
            assert!(told.contains("is not what the class"), "{told}");
        }
        let plan = planned(r#"{"closID":"gold","l3CacheSchema":"L3:0=f"}"#);
        plan.make(&plan.groups(root.path())).unwrap();
        assert_eq!(fs::read_to_string(class.join("schemata")).unwrap(), there);
    }
}
