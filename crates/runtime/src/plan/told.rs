//! Plans as people read them: one line for each decision.

use std::fmt;

use sys::mount::Depth;

use super::{InitPlan, Tree};
use crate::step::{Source, Step, attribute_names, propagation_name};

impl fmt::Display for InitPlan {
    /// One line for each decision, for snapshots and `--debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "new namespaces {}", self.namespaces)?;
        for join in self.pid.iter().chain(&self.joins) {
            writeln!(f, "open {} namespace {:?}", join.kind, join.origin)?;
        }
        for (slot, tree) in self.trees.iter().enumerate() {
            write_tree(f, slot, tree)?;
        }
        self.steps.iter().try_for_each(|step| write_step(f, step))
    }
}

fn write_tree(f: &mut fmt::Formatter<'_>, slot: usize, tree: &Tree) -> fmt::Result {
    match tree {
        Tree::Bind { mount, source, depth, shown } => {
            write!(f, "tree {slot}: mounts[{mount}] {} {depth:?}", source.display())?;
            shown.iter().try_for_each(|shown| write!(f, " with ids {shown:?}"))?;
            writeln!(f)
        }
        Tree::Filled { content, maps, .. } => {
            let ranges: Vec<String> = maps.users.iter().map(ToString::to_string).collect();
            let (count, ranges) = (content.len(), ranges.join(","));
            writeln!(f, "tree {slot}: tmpfs with {count} entries for ids {ranges}")
        }
        Tree::Users(ids) => writeln!(f, "tree {slot}: ids {ids:?}"),
        Tree::Device { path, node } => writeln!(f, "tree {slot}: {node} {}", path.display()),
        Tree::CopyUp { covers, .. } => writeln!(f, "tree {slot}: tmpfs filled from {covers}"),
    }
}

pub(super) fn write_step(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    let Step::Mount(mount) = step else { return writeln!(f, "{step}") };
    write!(f, "{step} [{}", attribute_names(&mount.attributes))?;
    if !mount.recursive.is_none() {
        write!(f, " all:{}", attribute_names(&mount.recursive))?;
    }
    if let Some((how, depth)) = mount.propagation {
        let all = if depth == Depth::Recursive { "r" } else { "" };
        write!(f, " {all}{}", propagation_name(how))?;
    }
    f.write_str("]")?;
    if let Source::New { params, .. } = &mount.source {
        for (key, value) in params {
            write!(f, " {}", key.to_string_lossy())?;
            value.iter().try_for_each(|value| write!(f, "={}", value.to_string_lossy()))?;
        }
    }
    if !mount.content.is_empty() {
        write!(f, " with {} entries", mount.content.len())?;
    }
    writeln!(f)
}
