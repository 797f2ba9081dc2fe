//! Whose duty it is to remove an auto-remove container after its end.
//!
//! A client that waits for the end claims the duty, since it can do the work at once and without
//! starting a program. If it dies before it is done, the duty falls back to the shim. A client that
//! stops the container in order to start it again puts the duty off, for as long as it is there.

use std::collections::BTreeSet;

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
    /// Who starts the container again.
    holds: BTreeSet<ConnId>,
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
    /// A client, or nobody until a client has started the container again.
    Theirs,
    /// The shim, with these arguments to its own program.
    Ours(&'a [String]),
}

impl Removal {
    pub(super) const fn new() -> Self {
        Self { reap: None, due: Due::NotYet, claim: None, holds: BTreeSet::new() }
    }

    pub(super) fn launched(&mut self, reap: Option<Vec<String>>) {
        self.reap = reap;
        self.due = Due::NotYet;
        self.holds.clear();
    }

    /// This client starts the container again.
    pub(super) fn hold(&mut self, conn: ConnId) {
        self.holds.insert(conn);
    }

    /// Whether somebody is about to start the container again that would go otherwise.
    pub(super) fn is_held(&self) -> bool {
        self.reap.is_some() && !self.holds.is_empty()
    }

    pub(super) fn exited(&mut self) {
        self.due = Due::Now;
    }

    pub(super) fn claim(&mut self, conn: ConnId) -> Result<(), Refusal> {
        let is_started_again = self.is_held() && self.due == Due::Now;
        if is_started_again || self.claim.is_some_and(|holder| holder != conn) {
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

    /// True if this was the last client for whom the removal was put off.
    pub(super) fn on_closed(&mut self, conn: ConnId) -> bool {
        self.claim.take_if(|holder| *holder == conn);
        self.holds.remove(&conn) && self.holds.is_empty() && self.reap.is_some()
    }

    /// Whether the container has ended and goes, or is gone.
    pub(super) fn is_due(&self) -> bool {
        self.reap.is_some() && self.due != Due::NotYet && !self.is_held()
    }

    pub(super) fn duty(&self) -> Duty<'_> {
        let is_theirs = self.claim.is_some() || self.is_held();
        match (&self.reap, &self.due, is_theirs) {
            (Some(_), Due::Now, true) => Duty::Theirs,
            (Some(arguments), Due::Now, false) => Duty::Ours(arguments),
            (Some(_), Due::Done, _) => Duty::Done,
            (None, _, _) | (_, Due::NotYet, _) => Duty::Nobody,
        }
    }
}
