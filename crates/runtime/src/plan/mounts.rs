//! The mounts of a specification as steps, and the trees that the parent must bring.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxIdMapping, Mount};
use sys::mount::{Attributes, Depth, MountAttrFlags, Propagation};
use sys::process::Namespaces;
use sys::userns::IdMaps;

use super::around::id_ranges;
use super::options::{COPY_LINK, Options};
use super::text::{c_string, clean, is_at_or_below, place};
use super::{PlanError, hierarchies};
use crate::facts::{CgroupView, UserIds};
use crate::step::{Entry, MountStep, Node, NodeKind, Place, Slot, Source, Step};

/// A tree that the parent detaches, or makes, before the child exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// A copy of a mount of the host.
    Bind {
        /// Index in the mounts of the specification.
        mount: usize,
        /// Its path on the host, unless the caller brings it open.
        source: PathBuf,
        /// With the mounts below it or without.
        depth: Depth,
        /// The ids that it shows, if not its own.
        shown: Option<Shown>,
    },
    /// A new tmpfs with devices, for a user namespace, which could not make them.
    Filled {
        /// Its parameters.
        params: Params,
        /// What is in it.
        content: Vec<Entry>,
        /// Whose it is.
        maps: IdMaps,
    },
    /// A device of the host, for a user namespace, which could not make a node of it.
    Device {
        /// Its path on the host.
        path: PathBuf,
        /// What has to be there.
        node: Node,
    },
    /// No tree but a user namespace, with whose ids a mount is shown that is there later.
    Users(Ids),
    /// A new file system, filled with what it will cover.
    CopyUp {
        /// Its parameters.
        params: Params,
        /// What it covers.
        covers: Place,
    },
}

/// Ids that a mount shows in place of those of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Which.
    pub ids: Ids,
    /// Of the mount alone, or of those below it too.
    pub depth: Depth,
}

/// Which ids a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids {
    /// Those of the container's user namespace.
    Container,
    /// Its own: `inside` is the id of a file, `outside` what it is shown as.
    Own(IdMaps),
}

/// Keys of a file system, and values where they have one.
pub type Params = Vec<(CString, Option<CString>)>;

/// What the mounts come to.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) steps: Vec<Step>,
    pub(super) trees: Vec<Tree>,
    /// Directories of /dev that other file systems are mounted on.
    below_dev: Vec<Entry>,
    /// Whether there is a devpts on /dev/pts to open terminals in.
    pub(super) has_terminals: bool,
}

/// What mounts depend on besides themselves.
pub(super) struct Context<'a> {
    pub(super) cgroups: &'a CgroupView,
    /// Where the cgroup namespace is that a container shares with its caller, if it is shown version 1.
    pub(super) shared_view: Option<Slot>,
    /// Whether the container has its caller's cgroup namespace, and is shown version 2.
    pub(super) shares_groups: bool,
    /// Of binds that name none.
    pub(super) propagation: Propagation,
    pub(super) dev: Vec<Entry>,
    /// Devices below it that are shown.
    pub(super) shown: Vec<(Place, Node)>,
    /// The maps of the user namespace, if there is one.
    pub(super) users: Option<&'a IdMaps>,
    /// The label of SELinux that new file systems have.
    pub(super) label: Option<&'a str>,
    /// Where links lead that are made in place of binds.
    pub(super) links: &'a BTreeMap<usize, CString>,
    /// What binds of these indices show is in the root by then.
    pub(super) inside: &'a BTreeMap<usize, Place>,
}

/// File systems that take one label for all of their files.
const LABELLED: [&str; 3] = ["tmpfs", "devpts", "ramfs"];

/// Files of procfs that tools like LXCFS replace; everything else below /proc stays the kernel's.
const REPLACEABLE: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
];

/// Where a host has version 2 of control groups, if it has no other.
const UNIFIED: &str = "/sys/fs/cgroup";

/// Options of the /dev that a specification has forgotten.
const DEV_OPTIONS: [&str; 4] = ["nosuid", "strictatime", "mode=755", "size=65536k"];

pub(super) fn plan(mounts: &[Mount], context: &Context<'_>) -> Result<Mounts, PlanError> {
    let mut planned = Mounts { below_dev: super::dev::places(mounts)?, ..Mounts::default() };
    if !mounts.iter().any(|mount| clean(mount.destination()) == "/dev") {
        planned.add_dev(context)?;
    }
    for (index, mount) in mounts.iter().enumerate() {
        planned.add(index, mount, context)?;
    }
    Ok(planned)
}

/// The step of one mount alone, for a container that runs: a bind, whose tree the caller has, or a
/// tmpfs with the ids of the host's user namespace.
pub(crate) fn one(mount: &Mount) -> Result<MountStep, PlanError> {
    let context = Context {
        cgroups: &CgroupView::Unified,
        shared_view: None,
        shares_groups: false,
        propagation: Propagation::Private,
        dev: Vec::new(),
        shown: Vec::new(),
        users: None,
        label: None,
        inside: &BTreeMap::new(),
        links: &BTreeMap::new(),
    };
    let mut planned = Mounts::default();
    planned.add(0, mount, &context)?;
    let is_plain = |trees: &[Tree]| matches!(trees, [] | [Tree::Bind { .. }]);
    match planned.steps.pop() {
        Some(Step::Mount(step)) if is_plain(&planned.trees) => Ok(*step),
        _ => Err(PlanError::Unsupported("mounts[].options")),
    }
}

/// One mount with its texts read.
struct Reading<'a> {
    kind: &'a str,
    source: Option<&'a PathBuf>,
    destination: String,
    target: Place,
    options: Options,
    maps: Option<IdMaps>,
}

impl<'a> Reading<'a> {
    fn of(mount: &'a Mount) -> Result<Self, PlanError> {
        let destination = clean(mount.destination());
        let words = mount.options().as_deref().unwrap_or_default();
        let options = Options::parse(words).map_err(|option| PlanError::MountOption {
            destination: destination.clone(),
            option,
        })?;
        let kind = match mount.typ().as_deref() {
            Some("" | "none") | None => "bind",
            Some(kind) => kind,
        };
        let kind = if options.bind.is_some() { "bind" } else { kind };
        let target = place("mounts[].destination", mount.destination())?;
        let maps = maps(mount)?;
        Ok(Self { kind, source: mount.source().as_ref(), destination, target, options, maps })
    }

    fn option_error(&self, option: &str) -> PlanError {
        PlanError::MountOption { destination: self.destination.clone(), option: option.to_owned() }
    }

    /// The ids that it shall show. Mappings without a word about them are of the one mount.
    fn shown(&self, users: Option<&IdMaps>) -> Result<Option<Shown>, PlanError> {
        let ids = match (self.options.ids, &self.maps) {
            (None, None) => return Ok(None),
            (_, Some(maps)) => Ids::Own(maps.clone()),
            (Some(_), None) if users.is_some() => Ids::Container,
            (Some(_), None) => {
                let setting = format!("mount on {:?}: idmap without mappings", self.destination);
                return Err(PlanError::NeedsNamespace { setting, namespace: "user" });
            }
        };
        Ok(Some(Shown { ids, depth: self.options.ids.unwrap_or(Depth::Single) }))
    }

    /// Nothing may stand in for procfs or its parts (CVE-2019-16884).
    fn check_proc(&self) -> Result<(), PlanError> {
        let inside = is_at_or_below(&self.destination, "/proc");
        let replaceable = self.kind == "bind" && REPLACEABLE.contains(&self.destination.as_str());
        let is_proc = self.destination == "/proc"
            && (self.kind == "proc"
                || self.kind == "bind" && self.source.is_some_and(|s| s == Path::new("/proc")));
        if !inside || replaceable || is_proc {
            return Ok(());
        }
        Err(PlanError::InsideProc { destination: self.destination.clone() })
    }

    /// Parameters for fsconfig(2), the source first: it is what mount(8) shows as the device.
    fn params(&self) -> Result<Params, PlanError> {
        let mut params = Vec::new();
        if let Some(source) = self.source {
            let source = self.param("source", &source.to_string_lossy())?;
            params.push((c"source".to_owned(), Some(source)));
        }
        for (key, value) in &self.options.params {
            let value = value.as_deref().map(|value| self.param(key, value)).transpose()?;
            params.push((self.param(key, key)?, value));
        }
        Ok(params)
    }

    /// A key, or the value of one.
    fn param(&self, key: &str, text: &str) -> Result<CString, PlanError> {
        if text.len() > 255 {
            let option = key.chars().take(64).collect();
            let destination = self.destination.clone();
            return Err(PlanError::LongMountOption { destination, option });
        }
        c_string("mounts[].options", text)
    }

    fn step(self, source: Source) -> MountStep {
        MountStep {
            source,
            target: self.target,
            attributes: self.options.attributes,
            recursive: self.options.recursive,
            propagation: self.options.propagation,
            content: Vec::new(),
        }
    }
}

impl Mounts {
    fn add_dev(&mut self, context: &Context<'_>) -> Result<(), PlanError> {
        let options = DEV_OPTIONS.map(str::to_owned);
        let options = Options::parse(&options)
            .map_err(|option| PlanError::MountOption { destination: "/dev".to_owned(), option })?;
        let source = PathBuf::from("tmpfs");
        let reading = Reading {
            kind: "tmpfs",
            source: Some(&source),
            destination: "/dev".to_owned(),
            target: place("mounts[].destination", Path::new("/dev"))?,
            options,
            maps: None,
        };
        self.add_new(reading, context)
    }

    fn add(&mut self, index: usize, mount: &Mount, context: &Context<'_>) -> Result<(), PlanError> {
        let reading = Reading::of(mount)?;
        reading.check_proc()?;
        if reading.options.is_remount {
            return self.add_remount(reading);
        }
        if reading.kind != "bind" && (reading.maps.is_some() || reading.options.ids.is_some()) {
            return Err(reading.option_error("idmap"));
        }
        if reading.kind != "bind" && reading.options.copies_link {
            return Err(reading.option_error(COPY_LINK));
        }
        match reading.kind {
            "bind" => self.add_bind(index, reading, context),
            "cgroup" | "cgroup2" => self.add_cgroup(index, reading, context),
            _ => self.add_new(reading, context),
        }
    }

    fn add_bind(
        &mut self,
        index: usize,
        mut reading: Reading<'_>,
        context: &Context<'_>,
    ) -> Result<(), PlanError> {
        // A file system's own parameters say nothing about one that is there already: the kernel passes them
        // over in mount(2), and engines rely on it. A word that nobody knows may be a mistyped one.
        if let Some((option, _)) = reading.options.params.iter().find(|(_, value)| value.is_none())
        {
            return Err(reading.option_error(option));
        }
        if reading.options.copy_up {
            return Err(reading.option_error("tmpcopyup"));
        }
        if let Some(target) = context.links.get(&index) {
            self.steps.push(Step::Link(reading.target, target.clone()));
            return Ok(());
        }
        let destination = || reading.destination.clone();
        let source = reading.source.filter(|source| source.is_absolute()).cloned();
        let source = source.ok_or_else(|| PlanError::BindSource { destination: destination() })?;
        let depth = reading.options.bind.unwrap_or(Depth::Recursive);
        let name = source.display().to_string();
        let shown = reading.shown(context.users)?;
        let source = if let Some(from) = context.inside.get(&index).cloned() {
            let ids = shown.map(|Shown { ids, depth }| (self.add_tree(Tree::Users(ids)), depth));
            Source::Inside { from, depth, ids }
        } else {
            Source::Tree(self.add_tree(Tree::Bind { mount: index, source, depth, shown }), name)
        };
        // A copy of a shared mount is shared until it is told otherwise, and would carry what the
        // container mounts to the host.
        reading.options.propagation.get_or_insert((context.propagation, Depth::Recursive));
        self.steps.push(Step::Mount(Box::new(reading.step(source))));
        Ok(())
    }

    /// Changes what one of the mounts before has made. A bind has no file system of its own to change.
    fn add_remount(&mut self, reading: Reading<'_>) -> Result<(), PlanError> {
        if reading.maps.is_some() || reading.options.ids.is_some() {
            return Err(reading.option_error("idmap"));
        }
        let unsourced = Reading { source: None, ..reading };
        let params = unsourced.params()?;
        if let (Some(_), Some((option, _))) =
            (unsourced.options.bind, unsourced.options.params.first())
        {
            return Err(unsourced.option_error(option));
        }
        self.steps.push(Step::Mount(Box::new(unsourced.step(Source::Present(params)))));
        Ok(())
    }

    /// A device outside of `/dev`: a node, or for a user namespace, which can make none, a bind of the
    /// host's.
    pub(super) fn add_node(&mut self, target: Place, node: Node, makers: UserIds) {
        if makers == UserIds::Hosts || node.kind == NodeKind::Fifo {
            return self.steps.push(Step::Node(target, node));
        }
        let path = PathBuf::from(target.to_string());
        let slot = self.add_tree(Tree::Device { path, node });
        self.steps.push(Step::Mount(Box::new(MountStep {
            source: Source::Tree(slot, node.to_string()),
            target,
            attributes: Attributes::NONE,
            recursive: Attributes::NONE,
            propagation: Some((Propagation::Private, Depth::Single)),
            content: Vec::new(),
        })));
    }

    fn add_tree(&mut self, tree: Tree) -> Slot {
        self.trees.push(tree);
        self.trees.len() - 1
    }

    fn add_new(&mut self, reading: Reading<'_>, context: &Context<'_>) -> Result<(), PlanError> {
        let mut params = reading.params()?;
        // The kernel's own file systems are labelled by the policy, and a label that a mount names stands.
        let is_labelled = reading.options.params.iter().any(|(key, _)| key == "context");
        let label = context.label.filter(|_| !is_labelled && LABELLED.contains(&reading.kind));
        if let Some(label) = label {
            params.push((c"context".to_owned(), Some(c_string("linux.mountLabel", label)?)));
        }
        self.has_terminals |= reading.kind == "devpts" && reading.destination == "/dev/pts";
        let is_dev = reading.destination == "/dev" && reading.kind == "tmpfs";
        if let Some(maps) = context.users.filter(|_| is_dev || reading.options.copy_up) {
            params.extend(owner(maps)?);
        }
        let source = if let (Some(maps), true) = (context.users, is_dev) {
            let maps = maps.clone();
            let tree = Tree::Filled { params, content: context.dev.clone(), maps };
            Source::Tree(self.add_tree(tree), "tmpfs".to_owned())
        } else if reading.options.copy_up {
            if reading.kind != "tmpfs" {
                return Err(reading.option_error("tmpcopyup"));
            }
            let covers = reading.target.clone();
            Source::Tree(self.add_tree(Tree::CopyUp { params, covers }), "tmpfs".to_owned())
        } else {
            Source::New { kind: c_string("mounts[].type", reading.kind)?, params }
        };
        let mut step = reading.step(source);
        if is_dev && context.users.is_none() {
            step.content.clone_from(&context.dev);
            // Nobody can make a place in it afterwards.
            let is_fixed = step.attributes.set.contains(MountAttrFlags::MOUNT_ATTR_RDONLY);
            step.content.extend(self.below_dev.iter().filter(|_| is_fixed).cloned());
        }
        self.steps.push(Step::Mount(Box::new(step)));
        // At once: what comes later in the list may lie above a device.
        let shown = context.shown.iter().filter(|_| is_dev);
        shown.for_each(|(target, node)| self.add_node(target.clone(), *node, UserIds::Nested));
        Ok(())
    }

    /// What the kernel calls cgroup depends on the host: one file system in version 2; in version 1
    /// a tmpfs with one file system for each hierarchy and a link for each controller that shares.
    fn add_cgroup(
        &mut self,
        index: usize,
        reading: Reading<'_>,
        context: &Context<'_>,
    ) -> Result<(), PlanError> {
        match &reading.options.params[..] {
            [] => {}
            // One hierarchy alone, as for a systemd in the container.
            [(key, Some(_))] if key == "name" && reading.kind == "cgroup" => {
                return self.add_new(reading, context);
            }
            [(option, _), ..] => return Err(reading.option_error(option)),
        }
        let hierarchies = match context.cgroups {
            // In the host's namespace the options of a new mount become those of the whole hierarchy, so that
            // one without `nsdelegate` would take it from everybody (cgroup_get_tree, at least up to Linux
            // 6.18); and the root of a user namespace may not make one at all.
            CgroupView::Unified if context.shares_groups => {
                let source = PathBuf::from(UNIFIED);
                return self.add_bind(index, Reading { source: Some(&source), ..reading }, context);
            }
            CgroupView::Unified => {
                let params = vec![(c"source".to_owned(), Some(c"cgroup".to_owned()))];
                let source = Source::New { kind: c"cgroup2".to_owned(), params };
                self.steps.push(Step::Mount(Box::new(reading.step(source))));
                return Ok(());
            }
            CgroupView::Legacy(hierarchies) => hierarchies,
        };
        let top = reading.step(hierarchies::top());
        let subs: Vec<MountStep> = hierarchies
            .iter()
            .map(|list| hierarchies::one(&top, list))
            .collect::<Result<_, _>>()?;
        let content = hierarchies.iter().map(|list| hierarchies::entries(list));
        let content = content.collect::<Result<Vec<_>, _>>()?.concat();
        self.steps.push(Step::Mount(Box::new(MountStep { content, ..top })));
        // A hierarchy of version 1 is mounted from the root of the cgroup namespace on. Without one of its own
        // a container would see the whole host's: engines expect its own group there, as runc binds it.
        self.steps.extend(context.shared_view.map(|_| Step::NewCgroupNamespace));
        self.steps.extend(subs.into_iter().map(|sub| Step::Mount(Box::new(sub))));
        let back = |slot| Step::JoinNamespace(Namespaces::CGROUP, slot);
        self.steps.extend(context.shared_view.map(back));
        Ok(())
    }
}

/// The mappings of a mount, of both kinds or none.
fn maps(mount: &Mount) -> Result<Option<IdMaps>, PlanError> {
    let ranges =
        |maps: &Option<Vec<LinuxIdMapping>>| id_ranges(maps.as_deref().unwrap_or_default());
    let maps = IdMaps { users: ranges(mount.uid_mappings()), groups: ranges(mount.gid_mappings()) };
    match (maps.users.is_empty(), maps.groups.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(maps)),
        (true, false) => Err(PlanError::Missing("mounts[].uidMappings beside gidMappings")),
        (false, true) => Err(PlanError::Missing("mounts[].gidMappings beside uidMappings")),
    }
}

/// The root of a file system that is made outside of the user namespace.
fn owner(maps: &IdMaps) -> Result<Params, PlanError> {
    let number = |field: &'static str, id: Option<u32>| {
        c_string(field, &id.ok_or(PlanError::Missing(field))?.to_string())
    };
    let user = number("a mapping of root in linux.uidMappings", maps.user(0))?;
    let group = number("a mapping of root in linux.gidMappings", maps.group(0))?;
    Ok(vec![(c"uid".to_owned(), Some(user)), (c"gid".to_owned(), Some(group))])
}
