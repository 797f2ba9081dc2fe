//! Whose duty it is to remove an auto-remove container after its end.
//!
//! A client that waits for the end claims the duty, since it can do the work at once and without
//! starting a program. If it dies before it is done, the duty falls back to the shim.

use super::ConnId;
use crate::protocol::Refusal;

/// The duty's state.
#[derive(Debug)]
pub(super) struct Removal {
    /// How it is done; `None`: the container stays.
    reap: Option<Vec<String>>,
    /// Whether there is something to remove yet.
    due: Due,
    /// Who will do it.
    claim: Option<ConnId>,
}

#[derive(Debug, PartialEq, Eq)]
enum Due {
    NotYet,
    Now,
    /// It has been removed.
    Done,
}

/// Who removes the container now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Duty<'a> {
    /// Nobody: it stays, or it has not ended.
    Nobody,
    /// Nobody any more: it is gone.
    Done,
    /// A client.
    Theirs,
    /// The shim, with these arguments to its own program.
    Ours(&'a [String]),
}

impl Removal {
    pub(super) const fn new() -> Self {
        Self { reap: None, due: Due::NotYet, claim: None }
    }

    pub(super) fn launched(&mut self, reap: Option<Vec<String>>) {
        self.reap = reap;
        self.due = Due::NotYet;
    }

    pub(super) fn exited(&mut self) {
        self.due = Due::Now;
    }

    pub(super) fn claim(&mut self, conn: ConnId) -> Result<(), Refusal> {
        if self.claim.is_some_and(|holder| holder != conn) {
            return Err(Refusal::Claimed);
        }
        self.claim = Some(conn);
        Ok(())
    }

    /// After the end, the holder has removed the container. Before it, it merely changes its
    /// mind.
    pub(super) fn release(&mut self, conn: ConnId) -> Result<(), Refusal> {
        if self.claim != Some(conn) {
            return Err(Refusal::NotClaimed);
        }
        self.claim = None;
        if self.is_due() {
            self.due = Due::Done;
        }
        Ok(())
    }

    pub(super) fn on_closed(&mut self, conn: ConnId) {
        if self.claim == Some(conn) {
            self.claim = None;
        }
    }

    /// Whether the container has ended and goes, or is gone.
    pub(super) fn is_due(&self) -> bool {
        self.reap.is_some() && self.due != Due::NotYet
    }

    pub(super) fn duty(&self) -> Duty<'_> {
        match (&self.reap, &self.due, self.claim) {
            (Some(_), Due::Now, Some(_)) => Duty::Theirs,
            (Some(arguments), Due::Now, None) => Duty::Ours(arguments),
            (Some(_), Due::Done, _) => Duty::Done,
            (None, _, _) | (_, Due::NotYet, _) => Duty::Nobody,
        }
    }
}
