//! Clients come, ask, carry streams and go.

use std::os::fd::OwnedFd;

use rustix::net::SocketFlags;
use rustix::net::sockopt::socket_peercred;
use sys::Errno;

use super::conn::{Conn, Input};
use super::poller::{Interest, Wish};
use super::{Guard, LISTEN_AGAIN};
use crate::frame::MAX_LARGE;
use crate::machine::{ConnId, Event};
use crate::protocol::{Reply, Request};

/// How many clients one shim serves at a time; more wait in the backlog.
const MAX_CLIENTS: usize = 256;
/// How many bytes of unfinished questions are kept for all clients together.
const MAX_UNFINISHED: usize = 2 * MAX_LARGE;
/// How often a client's input is read before others have their turn.
const TURNS: usize = 16;

/// Whether input was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pumped {
    Some,
    Nothing,
    End,
}

impl Guard {
    pub(super) fn accept(&mut self) {
        while self.conns.len() < MAX_CLIENTS {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(&self.listener.socket, flags) {
                Ok(socket) => self.admit(socket),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                // Out of descriptors or memory. The client waits in the backlog, so the listener
                // would be ready all the time.
                Err(_) => {
                    let again_at = self.elapsed() + LISTEN_AGAIN;
                    self.listen(Interest::None);
                    self.listener.again_at = Some(again_at);
                    return;
                }
            }
        }
        self.listen(Interest::None);
    }

    pub(super) fn listen(&mut self, interest: Interest) {
        self.listener.again_at = None;
        // It is a valid descriptor and watched as the poller remembers; the rest is memory.
        let _ = self.poller.set(&self.listener.socket, &mut self.listener.watch, interest);
    }

    /// Lets a client in if it is the host's root or whoever this process runs as: the directory
    /// keeps others out, and a file mode that somebody changed must not let them in (I15).
    fn admit(&mut self, socket: OwnedFd) {
        let Ok(peer) = socket_peercred(&socket) else { return };
        if !peer.uid.is_root() && peer.uid != rustix::process::geteuid() {
            return;
        }
        let id = ConnId(self.next_number());
        self.conns.insert(id, Conn::new(socket, id));
        self.events.push_back(Event::Connected(id));
        self.rewatch(id);
    }

    pub(super) fn on_conn(&mut self, id: ConnId, hung_up: bool) {
        let Some(conn) = self.conns.get(&id) else { return };
        match conn.input() {
            None => self.on_requests(id, hung_up),
            Some(_) => {
                if hung_up {
                    self.on_hang_up(id);
                } else {
                    self.flush(id);
                    self.pump_input(id);
                }
            }
        }
        if self.conns.get(&id).is_some_and(|conn| conn.input().is_none()) {
            self.flush(id);
        }
        self.rewatch(id);
    }

    fn on_requests(&mut self, id: ConnId, hung_up: bool) {
        let now = self.elapsed();
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.receive(self.scratch.warm(now)).is_err() {
            self.close(id);
            return;
        }
        while let Some(conn) = self.conns.get_mut(&id) {
            match conn.next_request() {
                // Who has given up waiting has told its user that nothing was started.
                Ok(Some(Request::Launch(_) | Request::ExecStart(_))) if hung_up => {
                    self.close(id);
                    return;
                }
                Ok(Some(request)) => {
                    self.events.push_back(Event::Request(id, request));
                    // The next bytes may already be input, so the answer comes first.
                    self.settle();
                }
                Ok(None) => break,
                Err(_) => {
                    self.close(id);
                    return;
                }
            }
        }
        if self.conns.values().map(Conn::buffered).sum::<usize>() > MAX_UNFINISHED {
            self.close(id);
        }
    }

    pub(super) fn reply(&mut self, id: ConnId, reply: &Reply) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.reply(reply);
        }
        self.flush(id);
        self.rewatch(id);
    }

    /// Writes what a client is to get; it may be what a process waits for.
    pub(super) fn flush(&mut self, id: ConnId) {
        let now = self.elapsed();
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let target = conn.target();
        if conn.flush(now).is_err() {
            self.on_hang_up(id);
            return;
        }
        if let Some(target) = target {
            self.let_flow(target);
        }
    }

    /// The client is gone. What it has sent before is still for the process.
    fn on_hang_up(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let has_sent_for_process = conn.feeds_process()
            && conn.input() != Some(Input::Ended)
            && conn.target().is_some_and(|target| self.procs.values().any(|p| p.target == target));
        if !has_sent_for_process {
            self.close(id);
            return;
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.set_input(Input::HungUp);
            // Its process may never take the rest, and end with it nevertheless.
            self.events.push_back(Event::HungUp(id));
        }
        self.pump_input(id);
        self.rewatch(id);
    }

    /// Carries a client's input to its process, as far as it comes and is taken.
    pub(super) fn pump_input(&mut self, id: ConnId) {
        // A client that is gone is not watched any more, so its input is read to the end now.
        let is_gone = self.conns.get(&id).and_then(Conn::input) == Some(Input::HungUp);
        let mut turns = if is_gone { usize::MAX } else { TURNS };
        while turns > 0 {
            turns -= 1;
            match self.pump_once(id) {
                Pumped::Some => {}
                Pumped::Nothing => return,
                Pumped::End => {
                    self.on_input_end(id);
                    return;
                }
            }
        }
    }

    fn pump_once(&mut self, id: ConnId) -> Pumped {
        let now = self.elapsed();
        if self.accepts_input(id) == Wish::No {
            return Pumped::Nothing;
        }
        let Some(conn) = self.conns.get_mut(&id) else { return Pumped::Nothing };
        if conn.input() == Some(Input::Ended) {
            return Pumped::Nothing;
        }
        let (target, feeds) = (conn.target(), conn.feeds_process());
        let Some(data) = conn.read_input(self.scratch.warm(now)) else { return Pumped::Nothing };
        if data.is_empty() {
            return Pumped::End;
        }
        let proc = self.procs.values_mut().find(|proc| Some(proc.target) == target);
        if feeds && let Some(proc) = proc {
            proc.io.write_input(data);
            // It cannot fail for a valid descriptor but for want of memory; then input waits.
            let _ = proc.io.update_watch(&self.poller);
        }
        Pumped::Some
    }

    /// Whether a client's input can be taken now: its process runs and has room, or it is thrown
    /// away.
    fn accepts_input(&self, id: ConnId) -> Wish {
        let Some(conn) = self.conns.get(&id) else { return Wish::No };
        if !conn.feeds_process() {
            return Wish::Yes;
        }
        let proc = self.procs.values().find(|proc| Some(proc.target) == conn.target());
        Wish::from(proc.is_some_and(|proc| proc.io.accepts_input()))
    }

    fn on_input_end(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let was = conn.input();
        self.end_proc_input(id);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.set_input(Input::Ended);
            if was == Some(Input::HungUp) || conn.is_done() {
                self.close(id);
            }
        }
    }

    /// Ends the input of the process that this client fed.
    fn end_proc_input(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        if !conn.feeds_process() || conn.input() == Some(Input::Ended) {
            return;
        }
        let target = conn.target();
        if let Some(proc) = self.procs.values_mut().find(|proc| Some(proc.target) == target) {
            proc.io.client_ended_input();
        }
    }

    /// Lets a client go, for whatever reason.
    pub(super) fn close(&mut self, id: ConnId) {
        self.end_proc_input(id);
        let Some(conn) = self.conns.remove(&id) else { return };
        self.events.push_back(Event::Closed(id));
        if let Some(target) = conn.target() {
            self.let_flow(target);
        }
        if self.listener.again_at.is_none() {
            self.listen(Interest::Read);
        }
    }

    /// Watches a client for what is needed now.
    pub(super) fn rewatch(&mut self, id: ConnId) {
        let accepts = self.accepts_input(id);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.update_watch(&self.poller, accepts).is_err() {
            self.close(id);
        }
    }
}
