//! Starts a container: opens what the plan needs, then lets `start` run it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::Spec;
use rustix::fs::{CWD, Mode, OFlags};
use sys::mount::Depth;
use sys::process::Namespaces;

use crate::copy_up;
use crate::error::{LaunchError, Reason};
use crate::facts::HostFacts;
use crate::filled;
use crate::hooks::Hooks;
use crate::plan::{
    self, Customs, Entrance, Extras, Filter, Ids, InitPlan, Join, Keyring, Origin, Orphan,
    PlanError, Shown, Starter, Tree,
};
use crate::shown_device;
use crate::start::{CgroupEntry, FilterRef, Ready, Start, Stdio};

/// A container to be started.
#[derive(Debug)]
pub struct Launch<'a> {
    /// What is to be.
    pub spec: &'a Spec,
    /// What there is.
    pub facts: &'a HostFacts,
    /// Its id.
    pub id: &'a str,
    /// The root file system: a detached mount that nobody else uses.
    pub rootfs: OwnedFd,
    /// Detached sources of binds, by index of `spec.mounts`. Those that are missing here are
    /// opened by the path of the specification.
    pub trees: Vec<(usize, OwnedFd)>,
    /// Namespaces that it joins, in place of what the specification says of their kinds. A path
    /// below `/proc` may come to mean another process before it is opened; a descriptor cannot.
    pub namespaces: Vec<(Namespaces, OwnedFd)>,
    /// Its standard streams.
    pub stdio: Stdio,
    /// Its control groups.
    pub cgroup: CgroupEntry<'a>,
    /// Its seccomp filter.
    pub filter: Option<FilterRef<'a>>,
    /// Its hooks; a specification that has some needs it.
    pub hooks: Option<Hooks<'a>>,
    /// What happens to it when this process dies.
    pub orphan: Orphan,
    /// Whose session keyring it has.
    pub keyring: Keyring,
    /// How many descriptors from 3 on its program inherits.
    pub preserved: u32,
    /// How its root file system becomes the root.
    pub entrance: Entrance,
    /// What is done in the place of another runtime.
    pub customs: Customs,
    /// A listening socket at which it waits, once it is [`Ready`] and left alone, for whoever starts it.
    pub door: Option<BorrowedFd<'a>>,
}

impl Launch<'_> {
    /// What is to be done.
    pub(crate) fn plan(&self) -> Result<InitPlan, PlanError> {
        let given =
            self.namespaces.iter().fold(Namespaces::NONE, |all, (kind, _)| all.union(*kind));
        let extras = Extras {
            id: self.id.to_owned(),
            given,
            filter: if self.filter.is_some() { Filter::Given } else { Filter::None },
            orphan: self.orphan,
            hooks_at: self.hooks.map(|hooks| hooks.root()),
            keyring: self.keyring,
            preserved: self.preserved,
            entrance: self.entrance.clone(),
            customs: self.customs.clone(),
            program: None,
            starter: if self.door.is_some() { Starter::Visitor } else { Starter::Parent },
        };
        plan::plan(self.spec, self.facts, &extras)
    }
}

/// Starts a container up to the point where it only waits for [`Ready::go`].
///
/// Everything that can fail without its program has been done by then: the program has been found,
/// as the user who will run it. Blocks for some milliseconds.
///
/// # Errors
/// If the plan, something the plan needs, or a step failed. Nothing of the container is left.
pub fn launch(launch: Launch<'_>) -> Result<Ready, LaunchError> {
    let plan = launch.plan()?;
    let mut given = Given { trees: launch.trees, namespaces: launch.namespaces };
    let trees = plan
        .trees
        .iter()
        .map(|tree| given.tree(tree, &launch.rootfs))
        .collect::<Result<Vec<_>, _>>()?;
    let joins =
        plan.joins.iter().map(|join| given.namespace(join)).collect::<Result<Vec<_>, _>>()?;
    let born_into = plan.pid.as_ref().map(|join| given.namespace(join)).transpose()?;
    let start = Start {
        steps: plan.steps,
        program: plan.program,
        namespaces: plan.namespaces,
        born_into: born_into.as_ref().map(AsFd::as_fd),
        cgroup: launch.cgroup,
        root: Some(launch.rootfs.as_fd()),
        container: None,
        trees: &trees,
        joins: &joins,
        filter: launch.filter,
        stdio: launch.stdio,
        terminal: plan.terminal,
        hooks: launch.hooks,
        door: launch.door,
    };
    start.run()
}

/// What the caller has brought and nobody has taken yet.
pub(crate) struct Given {
    pub(crate) trees: Vec<(usize, OwnedFd)>,
    pub(crate) namespaces: Vec<(Namespaces, OwnedFd)>,
}

impl Given {
    pub(crate) fn tree(&mut self, tree: &Tree, rootfs: &OwnedFd) -> Result<OwnedFd, LaunchError> {
        match tree {
            Tree::Bind { mount, source, depth, shown } => {
                let tree = self.bind(*mount, source, *depth)?;
                shown.iter().try_for_each(|shown| self.show(&tree, source, shown))?;
                Ok(tree)
            }
            Tree::Users(ids) => self.users(ids, "a mount of the container"),
            Tree::CopyUp { params, covers } => copy_up::tmpfs(params, covers, rootfs.as_fd()),
            Tree::Filled { params, content, maps } => filled::tmpfs(params, content, maps),
            Tree::Device { path, node } => shown_device::open(path, *node),
        }
    }

    fn bind(&mut self, mount: usize, source: &Path, depth: Depth) -> Result<OwnedFd, LaunchError> {
        let brought = self.trees.iter().position(|(index, _)| *index == mount);
        if let Some(at) = brought {
            return Ok(self.trees.swap_remove(at).1);
        }
        sys::mount::clone_tree(source, depth)
            .map_err(LaunchError::prepare("open the bind source", source.display()))
    }

    /// Shows a tree with other ids.
    fn show(&self, tree: &OwnedFd, source: &Path, shown: &Shown) -> Result<(), LaunchError> {
        let users = self.users(&shown.ids, source.display())?;
        sys::mount::set_idmap(tree, shown.depth, users)
            .map_err(LaunchError::prepare("map the ids of", source.display()))
    }

    /// The user namespace with whose ids something is shown.
    fn users(&self, ids: &Ids, object: impl std::fmt::Display) -> Result<OwnedFd, LaunchError> {
        let Ids::Own(maps) = ids else {
            let given = self.namespaces.iter().find(|(kind, _)| *kind == Namespaces::USER);
            let copied = given.map(|(_, users)| rustix::io::fcntl_dupfd_cloexec(users, 3));
            let failed = LaunchError::prepare("map the ids of", object);
            return copied.unwrap_or(Err(sys::Errno::BADF)).map_err(failed);
        };
        sys::userns::create_alone(maps).map_err(|error| LaunchError::Prepare {
            action: "map the ids of",
            object: object.to_string(),
            errno: Reason { errno: error.errno(), detail: error.to_string() },
        })
    }

    fn namespace(&mut self, join: &Join) -> Result<OwnedFd, LaunchError> {
        match &join.origin {
            Origin::Given => self
                .namespaces
                .iter()
                .position(|(kind, _)| *kind == join.kind)
                .map(|at| self.namespaces.swap_remove(at).1)
                .ok_or(sys::Errno::BADF)
                .map_err(LaunchError::prepare("take the namespace", format!("{:?}", join.kind))),
            Origin::Path(path) => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                rustix::fs::openat(CWD, path, flags, Mode::empty())
                    .map_err(LaunchError::prepare("open the namespace", path.display()))
            }
        }
    }
}
