//! What is laid out for criu before it makes a container again.
//!
//! Pure. criu makes processes and the container's own file systems; what comes from outside of a
//! container is found by the plan of an ordinary start, so that a restored container gets what its
//! specification says and nothing that a checkpoint says. It is laid out on a bench: a tmpfs that
//! criu's mount namespace alone has.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use sys::mount::{Attributes, Depth, MountAttrFlags, Propagation};

use super::text::c_string;
use super::{InitPlan, PlanError, Terminal, Tree};
use crate::init;
use crate::step::{
    Entry, MaskFile, MountStep, Node, NodeKind, Place, Slot, Source, Step, Symlinks, Uid,
};

/// Everything that criu is started with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Restoring {
    /// What its process does before it becomes criu. Slot 0 of the trees is the root file system.
    pub(crate) steps: Vec<Step>,
    /// The trees of the plan that fill the slots from 1 on.
    pub(crate) trees: Vec<Slot>,
    /// Where the root file system is.
    pub(crate) root: PathBuf,
    /// What else is on the bench: its name in the container's checkpoint, and where it is.
    pub(crate) laid: Vec<(String, PathBuf)>,
}

/// What masked paths are covered with: by kind, where it lies.
pub(crate) struct Mask {
    pub(crate) file: &'static str,
    pub(crate) directory: &'static str,
}

/// Lays out what a start by this plan would mount from outside. `inherited` descriptors of the
/// parent's go to criu.
pub(crate) fn restoring(
    plan: &InitPlan,
    bench: &Path,
    mask: &Mask,
    inherited: usize,
) -> Result<Restoring, PlanError> {
    if plan.terminal == Terminal::Yes {
        return Err(PlanError::Unsupported("a checkpoint of a container with a terminal"));
    }
    if plan.steps.iter().any(|step| matches!(step, Step::BeBorn(_))) {
        return Err(PlanError::Unsupported("a checkpoint of a user or time namespace"));
    }
    // What they have done to the container is not in the checkpoint, and here they are not run.
    if plan.steps.contains(&Step::AwaitHooks) {
        return Err(PlanError::Unsupported("a checkpoint of a container with hooks"));
    }
    let mut out = Restoring {
        steps: vec![Step::JoinCgroup],
        trees: Vec::new(),
        root: bench.join("root"),
        laid: Vec::new(),
    };
    out.steps
        .extend(plan.steps.contains(&Step::NewCgroupNamespace).then_some(Step::NewCgroupNamespace));
    let name = c_string("the bench", &bench.to_string_lossy())?;
    out.steps.extend([Step::IsolateMounts, Step::MakeBench(name)]);
    out.lay_root();
    for step in &plan.steps {
        if let Step::MakeMask(file) = step {
            out.lay_mask(*file, bench, mask);
        } else if let Step::Mount(mount) = step {
            out.lay(mount, &plan.trees, bench)?;
        }
    }
    out.steps.extend([Step::StandardStreams(Uid::ROOT), Step::KeepDescriptors(3)]);
    out.steps.extend((0..inherited).map(Step::Inherit));
    out.steps.extend([Step::DieWithParent, Step::AwaitGo, Step::Execute]);
    Ok(out)
}

impl Restoring {
    fn lay_root(&mut self) {
        let source = Source::Tree(0, "the root file system".to_owned());
        let private = Some((Propagation::Private, Depth::Recursive));
        self.mount(MountStep { propagation: private, ..plain(source, c"/root".to_owned()) });
    }

    fn lay_mask(&mut self, file: MaskFile, bench: &Path, mask: &Mask) {
        let null = Node { kind: NodeKind::Character(1, 3), mode: 0o666, uid: 0, gid: 0 };
        let null = match file {
            MaskFile::Null => Entry::Node(init::NULL.to_owned(), null),
            MaskFile::Empty => Entry::File(init::NULL.to_owned()),
        };
        let params = vec![(c"mode".to_owned(), Some(c"555".to_owned()))];
        let source = Source::New { kind: c"tmpfs".to_owned(), params };
        let set = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_RDONLY;
        self.mount(MountStep {
            attributes: Attributes { set, ..Attributes::NONE },
            content: vec![Entry::Directory(init::EMPTY.to_owned()), null],
            ..plain(source, c"/mask".to_owned())
        });
        let at = |name: &std::ffi::CStr| bench.join("mask").join(&*name.to_string_lossy());
        self.laid.push((mask.file.to_owned(), at(init::NULL)));
        self.laid.push((mask.directory.to_owned(), at(init::EMPTY)));
    }

    /// Binds and control groups; criu makes the rest.
    fn lay(&mut self, mount: &MountStep, trees: &[Tree], bench: &Path) -> Result<(), PlanError> {
        let source = match &mount.source {
            Source::Tree(slot, name) => match trees.get(*slot) {
                Some(Tree::Bind { .. }) => {
                    self.trees.push(*slot);
                    Source::Tree(self.trees.len(), name.clone())
                }
                Some(
                    Tree::CopyUp { .. }
                    | Tree::Filled { .. }
                    | Tree::Device { .. }
                    | Tree::Users(_),
                )
                | None => {
                    return Ok(());
                }
            },
            Source::New { kind, .. } if matches!(kind.to_bytes(), b"cgroup" | b"cgroup2") => {
                mount.source.clone()
            }
            Source::Inside { .. } => {
                return Err(PlanError::Unsupported(
                    "a bind of what an earlier mount has brought, in a restore",
                ));
            }
            Source::New { .. } | Source::Present(_) => return Ok(()),
        };
        let name = format!("m{}", self.laid.len());
        let target = c_string("the bench", &format!("/{name}"))?;
        self.laid.push((mount.target.to_string(), bench.join(name)));
        self.mount(MountStep { source, target: at(target), ..mount.clone() });
        Ok(())
    }

    fn mount(&mut self, step: MountStep) {
        self.steps.push(Step::Mount(Box::new(step)));
    }
}

fn at(path: CString) -> Place {
    Place { path, symlinks: Symlinks::Refuse }
}

fn plain(source: Source, target: CString) -> MountStep {
    MountStep {
        source,
        target: at(target),
        attributes: Attributes::NONE,
        recursive: Attributes::NONE,
        propagation: None,
        content: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use oci_spec::runtime::Spec;
    use serde_json::json;
    use sys::process::Namespaces;

    use super::*;
    use crate::capabilities::CapSet;
    use crate::facts::{CgroupView, HostFacts};
    use crate::plan::told::write_step;
    use crate::plan::{Entrance, Extras, Filter, Keyring, Orphan, Starter, plan};

    fn planned(terminal: bool) -> InitPlan {
        let spec: Spec = serde_json::from_value(json!({
            "ociVersion": "1.2.0",
            "root": { "path": "rootfs", "readonly": true },
            "process": { "user": { "uid": 5, "gid": 0 }, "args": ["sh"], "cwd": "/", "terminal": terminal },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts" },
                { "destination": "/run", "type": "tmpfs", "source": "tmpfs" },
                { "destination": "/run/copied", "type": "tmpfs", "options": ["tmpcopyup"] },
                { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"] },
                { "destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", "rro"] },
            ],
            "linux": {
                "namespaces": [{ "type": "mount" }, { "type": "pid" }, { "type": "cgroup" }],
                "maskedPaths": ["/proc/keys"],
            },
        }))
        .unwrap();
        let facts = HostFacts {
            capabilities: CapSet::up_to(40),
            last_capability: 40,
            cgroups: CgroupView::Unified,
            apparmor: false,
            selinux: false,
            users: crate::facts::UserIds::Hosts,
        };
        let id = "c1".to_owned();
        let extras = Extras {
            id,
            given: Namespaces::NONE,
            filter: Filter::None,
            orphan: Orphan::Dies,
            hooks_at: None,
            keyring: Keyring::New,
            preserved: 0,
            starter: Starter::Parent,
            entrance: Entrance::Pivot,
            customs: crate::plan::Customs::default(),
            program: None,
        };
        plan(&spec, &facts, &extras).unwrap()
    }

    const MASK: Mask = Mask { file: "mask-file", directory: "mask-directory" };

    #[test]
    fn what_comes_from_outside_is_laid_out_and_nothing_else() {
        let plan = planned(false);
        let layout = restoring(&plan, Path::new("/work/bench"), &MASK, 2).unwrap();
        struct Steps<'a>(&'a [Step]);
        impl std::fmt::Display for Steps<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.iter().try_for_each(|step| write_step(f, step))
            }
        }
        let laid = layout.laid.iter().map(|(name, path)| format!("{name} is {}\n", path.display()));
        let text = format!("{}{}", Steps(&layout.steps), laid.collect::<String>());
        expect![[r#"
            join the cgroup
            new cgroup namespace
            isolate mounts
            mount a tmpfs on /work/bench
            mount the root file system on /root [ rprivate]
            mount tmpfs on /mask [ro,nosuid,noexec] mode=555 with 2 entries
            mount cgroup2 on /m2 [ro] source=cgroup
            mount /srv on /m3 [ all:ro rslave]
            take the standard streams
            keep the descriptors below 3 only
            let the program inherit descriptor 0
            let the program inherit descriptor 1
            die with the parent
            await go
            execute the program
            mask-file is /work/bench/mask/null
            mask-directory is /work/bench/mask/empty
            /sys/fs/cgroup is /work/bench/m2
            /data is /work/bench/m3
        "#]]
        .assert_eq(&text);
        assert_eq!((layout.trees.len(), layout.root), (1, "/work/bench/root".into()));
        assert!(matches!(plan.trees[layout.trees[0]], Tree::Bind { mount: 5, .. }));
    }

    #[test]
    fn a_terminal_is_refused() {
        let error = restoring(&planned(true), Path::new("/b"), &MASK, 0).unwrap_err();
        assert!(matches!(error, PlanError::Unsupported(_)), "{error}");
    }
}
