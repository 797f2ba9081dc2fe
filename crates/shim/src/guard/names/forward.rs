//! Questions that go on to other servers: each by a socket of its own, with a number and a port that nobody can
//! foretell, to one server after the other.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use net::dns::answer::{self, Transport};
use net::dns::upstream::{self, Said};
use net::dns::{ADDRESS, MAX_SERVERS, PORT, servers_in};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
    sockopt,
};
use sys::Errno;

use super::super::poller::{Interest, Poller, Token, Watch};
use super::client::{PREFIX, framed};
use super::{Asker, Cx, Names, random};
use crate::protocol::Outside;

/// Most questions that others are asked at a time: each has a descriptor.
const MAX_ASKED: usize = 64;
/// How long one server may take after which there is another. Resolvers give up after five seconds, and there may
/// be three of them.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the last one may take, which is the only one at most hosts.
const LAST_PATIENCE: Duration = Duration::from_secs(4);
/// When the last one is asked again by UDP: a packet may have been lost, and nobody else is left to be asked.
const AGAIN: Duration = Duration::from_secs(1);
/// How long one that was silent is asked after the others: each question would wait for it anew.
const SILENCE: Duration = Duration::from_secs(30);
/// The host's servers. A stub on its loopback is reached from where we are.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Longest file that is read.
const MAX_FILE: u64 = 64 << 10;

/// A server, and from where it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Server {
    address: SocketAddr,
    seat: Seat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    /// Where the host's processes are.
    Host,
    /// Where the container's are.
    Container,
}

/// Who has not answered in time, until when that counts.
#[derive(Debug, Default)]
pub(super) struct Silent(Vec<(SocketAddr, Transport, Duration)>);

impl Silent {
    /// It was waited for in vain.
    fn note(&mut self, server: SocketAddr, transport: Transport, now: Duration) {
        self.forget(server, transport);
        self.0.retain(|(_, _, until)| *until > now);
        // There are at most as many at a time, by two ways; what others were is no use any more.
        if self.0.len() >= 2 * MAX_SERVERS {
            self.0.remove(0);
        }
        self.0.push((server, transport, now + SILENCE));
    }

    /// It has said something.
    fn forget(&mut self, server: SocketAddr, transport: Transport) {
        self.0.retain(|(silent, by, _)| (*silent, *by) != (server, transport));
    }

    /// The same servers, and those last that have not answered lately. Whether they do now is seen when the
    /// others do not know, or the time is over.
    fn arrange(&self, servers: &mut [Server], transport: Transport, now: Duration) {
        servers.sort_by_key(|server| {
            let is_it = |(silent, by, until): &(SocketAddr, Transport, Duration)| {
                (*silent, *by) == (server.address, transport) && *until > now
            };
            self.0.iter().any(is_it)
        });
    }
}

/// One time of asking a server.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    server: Server,
    patience: Duration,
}

/// Who is asked for how long, one after the other.
fn attempts(servers: &[Server], transport: Transport) -> VecDeque<Attempt> {
    let Some((last, others)) = servers.split_last() else { return VecDeque::new() };
    let attempt = |server: &Server, patience| Attempt { server: *server, patience };
    let mut attempts: VecDeque<Attempt> =
        others.iter().map(|server| attempt(server, PATIENCE)).collect();
    match transport {
        Transport::Udp => {
            let rest = LAST_PATIENCE.saturating_sub(AGAIN);
            attempts.extend([attempt(last, AGAIN), attempt(last, rest)]);
        }
        Transport::Tcp => attempts.push_back(attempt(last, LAST_PATIENCE)),
    }
    attempts
}

/// A question that others have been asked.
#[derive(Debug)]
pub(super) struct Asked {
    from: Asker,
    question: Vec<u8>,
    /// Its number, as the server knows it.
    id: u16,
    link: Option<Link>,
    /// Who is asked now.
    server: Option<SocketAddr>,
    /// Who is asked next.
    attempts: VecDeque<Attempt>,
    /// What a server has said that could not say anything.
    unable: Option<Vec<u8>>,
    until: Duration,
}

/// By what a server is asked.
#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    watch: Watch,
    transport: Transport,
    unsent: Vec<u8>,
    read: Vec<u8>,
}

/// What has become of asking a server.
enum Came {
    /// Nothing yet.
    Nothing,
    /// A message.
    Message(Vec<u8>),
    /// It cannot be asked.
    Failure,
}

impl Asked {
    pub(super) const fn deadline(&self) -> Duration {
        self.until
    }

    const fn transport(&self) -> Transport {
        self.from.transport()
    }

    /// Who has said that it cannot is not asked again.
    fn pass_over(&mut self) {
        let Some(address) = self.server else { return };
        self.attempts.retain(|attempt| attempt.server.address != address);
    }
}

impl Names {
    /// Asks others.
    pub(super) fn forward(&mut self, cx: Cx<'_>, question: &[u8], from: Asker) {
        if self.asked.len() >= MAX_ASKED {
            return self.give(cx, from, answer::refused(question));
        }
        let number = self.number();
        let mut servers = self.servers();
        self.silent.arrange(&mut servers, from.transport(), cx.now);
        let attempts = attempts(&servers, from.transport());
        let (question, server) = (question.to_vec(), None);
        let (link, unable, until) = (None, None, cx.now);
        let asked = Asked { from, question, id: 0, link, server, attempts, unable, until };
        self.asked.insert(number, asked);
        self.ask_next(cx, number);
    }

    /// Those that were chosen for the container, else the host's as they are now, if anything leads there.
    fn servers(&self) -> Vec<Server> {
        let chosen = self.resolver.servers.iter().map(|ip| SocketAddr::new(*ip, PORT));
        // From there it would be us.
        let chosen = chosen.filter(|server| server.ip() != ADDRESS).take(MAX_SERVERS);
        if !self.resolver.servers.is_empty() {
            return chosen.map(|address| Server { address, seat: Seat::Container }).collect();
        }
        match self.resolver.outside {
            Outside::Unreached => Vec::new(),
            Outside::Reached => {
                let all = servers_in(&host_file()).into_iter();
                all.map(|address| Server { address, seat: Seat::Host }).collect()
            }
        }
    }

    /// Asks the next server that can be asked; without one the question ends.
    fn ask_next(&mut self, cx: Cx<'_>, number: u32) {
        let Some(mut asked) = self.asked.remove(&number) else { return };
        asked.link = None;
        while let Some(Attempt { server, patience }) = asked.attempts.pop_front() {
            let Ok(id) = random().map(u16::from_ne_bytes) else { break };
            let message = upstream::with_id(&asked.question, id);
            let Ok(link) = self.link(cx, number, server, (asked.transport(), message)) else {
                continue;
            };
            let (server, until) = (Some(server.address), cx.now + patience);
            asked = Asked { id, link: Some(link), server, until, ..asked };
            self.asked.insert(number, asked);
            return;
        }
        let last = asked.unable.or_else(|| answer::failure(&asked.question));
        self.give(cx, asked.from, last);
    }

    fn link(
        &self,
        cx: Cx<'_>,
        number: u32,
        server: Server,
        (transport, message): (Transport, Vec<u8>),
    ) -> Result<Link, Errno> {
        let family = match server.address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let kind = match transport {
            Transport::Udp => SocketType::DGRAM,
            Transport::Tcp => SocketType::STREAM,
        };
        let make = || {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            socket_with(family, kind, flags, None)
        };
        let socket = match (server.seat, &self.netns) {
            (Seat::Host, _) => make()?,
            // Whose root is a user's could not come back.
            (Seat::Container, Some(netns)) if sys::rootless::is_member() => {
                sys::netns::open_in_child(netns, make).map_err(|_| Errno::NETUNREACH)?
            }
            (Seat::Container, Some(netns)) => sys::netns::step_into(netns, make)??,
            (Seat::Container, None) => return Err(Errno::NETUNREACH),
        };
        match connect(&socket, &server.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno),
        }
        let unsent = match transport {
            Transport::Udp => message,
            Transport::Tcp => framed(&message),
        };
        let watch = Watch::new(Token::NameServer(number));
        let mut link = Link { socket, watch, transport, unsent, read: Vec::new() };
        link.send()?;
        link.watch(cx.poller)?;
        Ok(link)
    }

    /// A server has said something, or takes more. Whoever gets an answer by that may have asked more already.
    pub(super) fn on_server(&mut self, cx: Cx<'_>, number: u32, buffer: &mut [u8]) {
        let from = self.asked.get(&number).map(|asked| asked.from);
        self.hear(cx, number, buffer);
        if let Some(Asker::Client(client)) = from {
            self.converse(cx, client);
        }
    }

    /// A server has taken too long.
    pub(super) fn on_silence(&mut self, cx: Cx<'_>, number: u32) {
        let asked = self.asked.get(&number);
        let from = asked.map(|asked| asked.from);
        if let Some((server, from)) = asked.and_then(|asked| asked.server).zip(from) {
            self.silent.note(server, from.transport(), cx.now);
        }
        self.ask_next(cx, number);
        if let Some(Asker::Client(client)) = from {
            self.converse(cx, client);
        }
    }

    fn hear(&mut self, cx: Cx<'_>, number: u32, buffer: &mut [u8]) {
        let Some(asked) = self.asked.get_mut(&number) else { return };
        let Some(link) = &mut asked.link else { return };
        let came = link.carry(buffer);
        let is_watched = link.watch(cx.poller).is_ok();
        let message = match came {
            Came::Nothing if is_watched => return,
            Came::Message(message) if is_watched => message,
            Came::Nothing | Came::Message(_) | Came::Failure => {
                asked.pass_over();
                return self.ask_next(cx, number);
            }
        };
        let said = upstream::read(&asked.question, asked.id, asked.transport(), &message);
        if let (Said::Answer(_) | Said::Unable(_), Some(server)) = (&said, asked.server) {
            self.silent.forget(server, asked.transport());
        }
        match said {
            Said::Answer(back) => {
                let from = asked.from;
                self.asked.remove(&number);
                self.give(cx, from, Some(back));
            }
            Said::Unable(back) => {
                asked.unable = Some(back);
                asked.pass_over();
                self.ask_next(cx, number);
            }
            // By UDP anybody may have sent it; a connection is the server's own.
            Said::Noise => match asked.transport() {
                Transport::Udp => {}
                Transport::Tcp => self.ask_next(cx, number),
            },
        }
    }

    /// Gives an answer to who has asked.
    pub(super) fn give(&mut self, cx: Cx<'_>, from: Asker, reply: Option<Vec<u8>>) {
        match reply {
            Some(reply) => self.reply(cx, from, &reply),
            None => self.dismiss(from),
        }
    }
}

impl Link {
    fn send(&mut self) -> Result<(), Errno> {
        while !self.unsent.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match send(&self.socket, &self.unsent, flags) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(Errno::INTR) => {}
                // Not connected yet, or no room.
                Err(Errno::AGAIN | Errno::NOTCONN) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn watch(&mut self, poller: &Poller) -> Result<(), Errno> {
        let wanted = if self.unsent.is_empty() { Interest::Read } else { Interest::Write };
        poller.set(&self.socket, &mut self.watch, wanted)
    }

    fn carry(&mut self, buffer: &mut [u8]) -> Came {
        match sockopt::socket_error(&self.socket) {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Came::Failure,
        }
        if self.send().is_err() {
            return Came::Failure;
        }
        if !self.unsent.is_empty() {
            return Came::Nothing;
        }
        let length = match recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((_, length)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Came::Nothing,
            Err(_) => return Came::Failure,
        };
        let came = buffer.get(..length).unwrap_or_default();
        match self.transport {
            Transport::Udp => Came::Message(came.to_vec()),
            Transport::Tcp if came.is_empty() => Came::Failure,
            Transport::Tcp => {
                self.read.extend(came);
                self.whole()
            }
        }
    }

    /// The message of a connection, if all of it has come.
    fn whole(&self) -> Came {
        let Some(length) = self.read.first_chunk() else { return Came::Nothing };
        let end = PREFIX + usize::from(u16::from_be_bytes(*length));
        self.read.get(PREFIX..end).map_or(Came::Nothing, |message| Came::Message(message.to_vec()))
    }
}

fn host_file() -> String {
    let mut text = Vec::new();
    // Without it there is nobody to ask.
    let read = File::open(RESOLV_CONF).and_then(|file| file.take(MAX_FILE).read_to_end(&mut text));
    read.map_or(String::new(), |_| String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_silent_is_asked_last_for_a_while() {
        let server = |last| {
            let address = SocketAddr::from(([192, 0, 2, last], PORT));
            Server { address, seat: Seat::Host }
        };
        let (one, two, three) = (server(1), server(2), server(3));
        let mut silent = Silent::default();
        let order = |silent: &Silent, transport, seconds| {
            let mut servers = [one, two, three];
            silent.arrange(&mut servers, transport, Duration::from_secs(seconds));
            servers
        };
        let (udp, tcp) = (Transport::Udp, Transport::Tcp);
        silent.note(one.address, udp, Duration::from_secs(10));
        assert_eq!(order(&silent, udp, 10), [two, three, one]);
        assert_eq!(order(&silent, tcp, 10), [one, two, three], "by another way it may answer");
        assert_eq!(order(&silent, udp, 39), [two, three, one]);
        assert_eq!(order(&silent, udp, 40), [one, two, three]);
        silent.note(two.address, udp, Duration::from_secs(11));
        assert_eq!(order(&silent, udp, 11), [three, one, two]);
        silent.forget(one.address, udp);
        assert_eq!(order(&silent, udp, 11), [one, three, two]);
    }

    #[test]
    fn what_is_remembered_of_servers_is_bounded() {
        let mut silent = Silent::default();
        for last in 0..=255_u8 {
            let address = SocketAddr::from(([192, 0, 2, last], PORT));
            silent.note(address, Transport::Udp, Duration::ZERO);
            assert!(silent.0.len() <= 2 * MAX_SERVERS);
        }
    }

    #[test]
    fn the_last_server_has_more_time_and_is_asked_twice_by_udp() {
        let server = |last| {
            let address = SocketAddr::from(([192, 0, 2, last], PORT));
            Server { address, seat: Seat::Host }
        };
        let told = |servers: &[Server], transport| -> Vec<(SocketAddr, u64)> {
            let attempts = attempts(servers, transport).into_iter();
            attempts.map(|one| (one.server.address, one.patience.as_secs())).collect()
        };
        let (one, two) = (server(1), server(2));
        let (a, b) = (one.address, two.address);
        assert_eq!(told(&[], Transport::Udp), []);
        assert_eq!(told(&[one], Transport::Udp), [(a, 1), (a, 3)]);
        assert_eq!(told(&[one, two], Transport::Udp), [(a, 2), (b, 1), (b, 3)]);
        assert_eq!(told(&[one, two], Transport::Tcp), [(a, 2), (b, 4)]);
    }
}
