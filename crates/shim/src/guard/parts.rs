//! Each exec's part of the container's cgroup: it tells the exec's processes from others, whatever
//! they do, and goes with the last of them.
//!
//! An exec that ends by itself leaves what it has started behind, as a shell does; its part is kept
//! until that has ended as well, so that all of it can still be killed.

use std::os::fd::OwnedFd;

use cgroup::{Cgroup, Removed, Settled};
use model::ExecId;

use super::Guard;
use super::poller::{Interest, Token, Watch};
use crate::protocol::Target;

/// The part of an exec that has ended while others of it go on.
#[derive(Debug)]
pub(super) struct Leftover {
    exec: ExecId,
    part: Cgroup,
    /// Tells when the last has gone; `None` where nothing does, as on version 1 of cgroups: there the
    /// next exec's end is the time to look.
    members: Option<OwnedFd>,
}

impl Leftover {
    /// Whether somebody is still in there.
    fn stays(&mut self) -> bool {
        // The container may have removed it and made another of its name: the watch would wake us for
        // ever. The next exec's end is the time to look then.
        self.members.take_if(|members| Cgroup::settle(members) == Settled::Gone);
        // One that cannot be removed goes with the container.
        !matches!(self.part.remove_part(), Ok(Removed::Yes))
    }
}

/// What an exec's part is called.
pub(super) fn part_name(exec: ExecId) -> String {
    format!("exec-{:.12}", exec.to_string())
}

impl Guard {
    /// Those who belong to a process: all of the container, or an exec with all that it has started.
    pub(super) fn cgroup_of(&self, target: Target) -> Option<&Cgroup> {
        let container = self.container.as_ref()?;
        let Target::Exec(exec) = target else { return Some(&container.cgroup) };
        let proc = self.procs.values().find(|proc| proc.target == target);
        let leftovers = &container.leftovers;
        proc.and_then(|proc| proc.part.as_ref()).or_else(|| {
            leftovers.iter().find(|leftover| leftover.exec == exec).map(|leftover| &leftover.part)
        })
    }

    /// Removes the part of an exec that has ended, now or when the last of its processes has gone.
    pub(super) fn leave_part(&mut self, exec: ExecId, part: Cgroup) {
        self.on_parts();
        let Some(container) = &mut self.container else { return };
        if matches!(part.remove_part(), Ok(Removed::Yes)) {
            return;
        }
        let mut leftover = Leftover { exec, members: part.watch_members(), part };
        if let Some(members) = &leftover.members {
            // The descriptor leaves the set when it is closed. Without a place in it, the next exec's
            // end is the time to look.
            let _ = self.poller.set(members, &mut Watch::new(Token::Parts), Interest::Change);
        }
        // The last may have gone in between.
        if leftover.stays() {
            container.leftovers.push(leftover);
        }
    }

    /// Looks whether parts are empty.
    pub(super) fn on_parts(&mut self) {
        if let Some(container) = &mut self.container {
            container.leftovers.retain_mut(Leftover::stays);
        }
    }
}
