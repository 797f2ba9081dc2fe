//! The container's questions for names: they come in by UDP and TCP, are answered from small files, or go on to
//! other servers.
//!
//! The container is not trusted, nor is who answers it: everything that it can make us keep is counted, and
//! nothing waits. What a question means is decided in `net::dns`.

mod client;
mod forward;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use model::ContainerId;
use model::life::StartFailure;
use net::dns::answer::{self, Chance, MAX_QUESTION, Outcome, Transport};
use net::dns::files::{NameFiles, Watched};
use net::dns::zone::{Bare, Host, Segment, Zone};
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recvfrom, sendto};
use rustix::rand::{GetRandomFlags, getrandom};
use sys::Errno;
use sys::process::Namespaces;

use super::effects::failed;
use super::launch::failure;
use super::poller::{Interest, Poller, Ready, Token, Watch};
use super::{Conn, Container, Guard, LISTEN_AGAIN};
use crate::life_lock::Lives;
use crate::machine::ConnId;
use crate::paths::ShimPaths;
use crate::protocol::{BareNames, Launch, OTHER_RESOLVER, Reply, Resolver};
use client::{Broken, Client};
use forward::{Asked, Silent};

/// How many questions are answered before others have their turn.
const BATCH: usize = 64;
/// Most connections of a container at a time; the others wait in its kernel's queue.
const MAX_CLIENTS: usize = 32;

/// What fails where a container is not heard.
const LISTEN: &str = "listen for questions for names";

/// Where a container asks, as it came with the launch.
pub(super) struct Places {
    pub(super) packets: Option<OwnedFd>,
    pub(super) streams: Option<OwnedFd>,
    /// From where servers are asked that somebody has chosen for it.
    pub(super) netns: Option<OwnedFd>,
}

/// The container's network namespace, if something is to be asked from there.
pub(super) fn netns(
    launch: &Launch,
    namespaces: &[(Namespaces, OwnedFd)],
) -> Result<Option<OwnedFd>, StartFailure> {
    if launch.resolver.as_ref().is_none_or(|resolver| resolver.servers.is_empty()) {
        return Ok(None);
    }
    let netns = namespaces.iter().find(|(kind, _)| *kind == Namespaces::NET);
    let cloned = netns.map(|(_, netns)| netns.try_clone()).transpose();
    cloned.map_err(|error| failure(format!("duplicate the network namespace: {error}")))
}

/// Begins to listen.
pub(super) fn open(
    launch: &Launch,
    places: Places,
    paths: &ShimPaths,
    poller: &Poller,
) -> Result<Option<Names>, StartFailure> {
    let Some(resolver) = &launch.resolver else { return Ok(None) };
    let (Some(packets), Some(listener)) = (places.packets, places.streams) else {
        return Err(failure("the launch has names, and no sockets for them"));
    };
    let names = Names::new((packets, listener), places.netns, (**resolver).clone(), paths);
    let names = names.and_then(|names| names.listening(poller));
    names.map(Some).map_err(|errno| failure(failed(LISTEN, errno)))
}

/// Who has asked.
#[derive(Debug, Clone, Copy)]
enum Asker {
    /// By UDP, from here.
    Packet(SocketAddrV4),
    /// By a connection.
    Client(u32),
}

impl Asker {
    const fn transport(self) -> Transport {
        match self {
            Self::Packet(_) => Transport::Udp,
            Self::Client(_) => Transport::Tcp,
        }
    }
}

/// What can be read again.
#[derive(Debug)]
struct Known {
    /// The names of each network, in the order of the zone's.
    watched: Vec<Watched>,
    zone: Zone,
    lives: Lives,
}

/// What a question is answered with, besides the names.
#[derive(Clone, Copy)]
struct Cx<'a> {
    poller: &'a Poller,
    now: Duration,
}

/// All that answers a container's questions.
#[derive(Debug)]
pub(super) struct Names {
    packets: OwnedFd,
    packets_watch: Watch,
    listener: OwnedFd,
    listener_watch: Watch,
    /// When connections are taken again, after there was no descriptor or no memory for one.
    listen_at: Option<Duration>,
    netns: Option<OwnedFd>,
    resolver: Resolver,
    id: ContainerId,
    run: PathBuf,
    /// What is known while somebody asks.
    known: Option<Known>,
    chance: Chance,
    clients: BTreeMap<u32, Client>,
    /// Questions that others have been asked.
    asked: BTreeMap<u32, Asked>,
    /// Who of them has let us wait.
    silent: Silent,
    /// The last number that one of these two got.
    numbers: u32,
}

impl Guard {
    /// Something of the container's questions is ready.
    pub(super) fn on_name(&mut self, ready: Ready) {
        let now = self.elapsed();
        self.scratch.cool_soon(now);
        let cx = Cx { poller: &self.poller, now };
        let Some(names) = names_of(&mut self.container) else { return };
        match ready.token {
            Token::NamePackets => names.on_packets(cx),
            Token::NameListener => names.on_listener(cx),
            Token::NameClient(number) => names.on_client(cx, number, ready.hung_up),
            Token::NameServer(number) => {
                names.on_server(cx, number, self.scratch.warm(now));
            }
            Token::Listener
            | Token::Signals
            | Token::Oom
            | Token::Log
            | Token::Parts
            | Token::Conn(_)
            | Token::Output(..)
            | Token::Input(_) => {}
        }
    }

    /// Somebody has been waited for long enough.
    pub(super) fn on_names_late(&mut self) {
        let now = self.elapsed();
        let cx = Cx { poller: &self.poller, now };
        if let Some(names) = names_of(&mut self.container) {
            names.on_late(cx);
        }
    }

    pub(super) fn names_deadline(&self) -> Option<Duration> {
        self.container.as_ref()?.names.as_ref()?.deadline()
    }

    /// The container is on other networks than before.
    pub(super) fn resolve(&mut self, conn: ConnId, resolver: Resolver) {
        let sockets = self.conns.get_mut(&conn).map(Conn::take_fds).unwrap_or_default();
        let reply = if let Some(names) = names_of(&mut self.container) {
            // From where chosen servers are asked was decided when they were.
            names.resolver = Resolver { servers: names.resolver.servers.clone(), ..resolver };
            names.trim();
            Reply::Ok
        } else if let Ok(sockets) = <[OwnedFd; 2]>::try_from(sockets) {
            match self.begin_to_answer(resolver, sockets) {
                Ok(()) => Reply::Ok,
                Err(why) => Reply::Failed { message: format!("{LISTEN}: {why}") },
            }
        } else {
            Reply::Failed { message: OTHER_RESOLVER.to_owned() }
        };
        self.reply(conn, &reply);
    }

    /// The container has not asked us since it was started, and does from now on.
    fn begin_to_answer(
        &mut self,
        resolver: Resolver,
        [packets, listener]: [OwnedFd; 2],
    ) -> std::io::Result<()> {
        if self.container.is_none() {
            return Err(Errno::SRCH.into());
        }
        let is_chosen = !resolver.servers.is_empty();
        let netns = is_chosen.then(|| self.own_netns()).transpose()?;
        let names = Names::new((packets, listener), netns, resolver, &self.paths)?;
        let names = names.listening(&self.poller)?;
        if let Some(container) = &mut self.container {
            container.names = Some(names);
        }
        Ok(())
    }
}

fn names_of(container: &mut Option<Container>) -> Option<&mut Names> {
    container.as_mut()?.names.as_mut()
}

impl Names {
    fn new(
        (packets, listener): (OwnedFd, OwnedFd),
        netns: Option<OwnedFd>,
        resolver: Resolver,
        paths: &ShimPaths,
    ) -> Result<Self, Errno> {
        Ok(Self {
            packets,
            packets_watch: Watch::new(Token::NamePackets),
            listener,
            listener_watch: Watch::new(Token::NameListener),
            listen_at: None,
            netns,
            resolver,
            id: paths.id,
            run: paths.run.clone(),
            known: None,
            chance: Chance::new(u64::from_ne_bytes(random()?)),
            clients: BTreeMap::new(),
            asked: BTreeMap::new(),
            silent: Silent::default(),
            numbers: 0,
        })
    }

    fn listening(mut self, poller: &Poller) -> Result<Self, Errno> {
        poller.set(&self.packets, &mut self.packets_watch, Interest::Read)?;
        poller.set(&self.listener, &mut self.listener_watch, Interest::Read)?;
        Ok(self)
    }

    /// The container has ended: it is called nothing any more.
    pub(super) fn leave(self) {
        let files = NameFiles::of(&self.run);
        self.resolver.networks.iter().for_each(|network| files.take(&network.id, &self.id));
    }

    /// Frees what can be read again.
    pub(super) fn trim(&mut self) {
        self.known = None;
    }

    fn number(&mut self) -> u32 {
        self.numbers = self.numbers.wrapping_add(1);
        self.numbers
    }

    /// What this container alone calls others.
    fn links(&self) -> HashMap<String, String> {
        let small =
            |(alias, to): &(String, String)| (alias.to_ascii_lowercase(), to.to_ascii_lowercase());
        self.resolver.links.iter().map(small).collect()
    }

    /// Nobody's names yet, on the networks of this container.
    fn unread(&self) -> Known {
        let files = NameFiles::of(&self.run);
        let networks = &self.resolver.networks;
        let segment = |name: &String| Segment { name: name.clone(), members: Rc::default() };
        Known {
            watched: networks.iter().map(|network| Watched::new(&files, &network.id)).collect(),
            zone: Zone {
                segments: networks.iter().map(|network| segment(&network.name)).collect(),
                host: Host { ipv4: self.resolver.host4, ipv6: self.resolver.host6 },
                bare: match self.resolver.bare {
                    BareNames::Forwarded => Bare::Forwarded,
                    BareNames::Refused => Bare::Refused,
                },
                links: self.links(),
            },
            lives: Lives::default(),
        }
    }

    /// Who is called what at this moment, and who lives, for all questions that are there by now; nothing if that
    /// cannot be read. Whoever takes it puts it back.
    fn know(&mut self) -> Option<Known> {
        let mut known = self.known.take().unwrap_or_else(|| self.unread());
        for (watched, segment) in known.watched.iter_mut().zip(&mut known.zone.segments) {
            segment.members = watched.members().ok()?;
        }
        known.lives.at_another_moment();
        Some(known)
    }

    fn on_packets(&mut self, cx: Cx<'_>) {
        let mut known = self.know();
        let mut buffer = [0; MAX_QUESTION];
        for _ in 0..BATCH {
            // What is cut off is no question.
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            let (length, from) = match recvfrom(&self.packets, &mut buffer, flags) {
                Ok((_, length, from)) => (length, from),
                Err(Errno::AGAIN) => break,
                // Of an answer that did not arrive.
                Err(_) => continue,
            };
            let from = from.and_then(|from| SocketAddrV4::try_from(from).ok());
            if let (Some(question), Some(from)) = (buffer.get(..length), from) {
                self.on_question(cx, question, Asker::Packet(from), known.as_mut());
            }
        }
        self.known = known;
    }

    fn on_question(&mut self, cx: Cx<'_>, question: &[u8], from: Asker, known: Option<&mut Known>) {
        let Some(Known { zone, lives, .. }) = known else {
            return self.give(cx, from, answer::failure(question));
        };
        let (id, run) = (self.id, &self.run);
        let mut is_known = true;
        let mut alive = |other: &ContainerId| {
            let held = if *other == id { Ok(true) } else { lives.is_held(run, other) };
            is_known &= held.is_ok();
            held.unwrap_or(false)
        };
        let outcome =
            answer::answer(question, from.transport(), zone, &mut self.chance, &mut alive);
        if !is_known {
            return self.give(cx, from, answer::failure(question));
        }
        match outcome {
            Outcome::Reply(reply) => self.reply(cx, from, &reply),
            Outcome::Forward => self.forward(cx, question, from),
            Outcome::Nothing => self.dismiss(from),
        }
    }

    /// What cannot be sent at once is lost by UDP: whoever asked will ask again.
    fn reply(&mut self, cx: Cx<'_>, from: Asker, reply: &[u8]) {
        match from {
            Asker::Packet(to) => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                let _ = sendto(&self.packets, reply, flags, &to);
            }
            Asker::Client(number) => {
                if let Some(client) = self.clients.get_mut(&number) {
                    client.answer(reply, cx.now);
                }
                self.tend(cx, number);
            }
        }
    }

    /// One who sends what is no question.
    fn dismiss(&mut self, from: Asker) {
        if let Asker::Client(number) = from {
            self.clients.remove(&number);
        }
    }

    fn on_listener(&mut self, cx: Cx<'_>) {
        while self.clients.len() < MAX_CLIENTS {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                // Who waits is still there, and would wake us again at once.
                Err(_) => {
                    self.listen_at = Some(cx.now + LISTEN_AGAIN);
                    break;
                }
            };
            let number = self.number();
            self.clients.insert(number, Client::new(socket, number, cx.now));
            self.tend(cx, number);
        }
        self.listen(cx);
    }

    /// Takes new connections as long as there is room for them.
    fn listen(&mut self, cx: Cx<'_>) {
        self.listen_at = self.listen_at.filter(|at| *at > cx.now);
        let has_room = self.clients.len() < MAX_CLIENTS && self.listen_at.is_none();
        let wanted = if has_room { Interest::Read } else { Interest::None };
        let _ = cx.poller.set(&self.listener, &mut self.listener_watch, wanted);
    }

    fn on_client(&mut self, cx: Cx<'_>, number: u32, hung_up: bool) {
        let ready = self.clients.get_mut(&number).map(|client| !hung_up && client.carry().is_ok());
        if ready == Some(false) {
            self.clients.remove(&number);
        }
        self.converse(cx, number);
        self.listen(cx);
    }

    /// Takes up what a client has asked, one question after the other.
    fn converse(&mut self, cx: Cx<'_>, number: u32) {
        // Without one nothing is read.
        if self.clients.get(&number).is_some_and(Client::has_question) {
            let mut known = self.know();
            self.take_up(cx, number, known.as_mut());
            self.known = known;
        }
        self.tend(cx, number);
    }

    fn take_up(&mut self, cx: Cx<'_>, number: u32, mut known: Option<&mut Known>) {
        for _ in 0..BATCH {
            let Some(client) = self.clients.get_mut(&number) else { return };
            let question = match client.next_question() {
                Ok(Some(question)) => question,
                Ok(None) => return,
                Err(Broken) => return self.dismiss(Asker::Client(number)),
            };
            self.on_question(cx, &question, Asker::Client(number), known.as_deref_mut());
        }
    }

    /// Sends what there is to send to a client, and waits for what it can do next.
    fn tend(&mut self, cx: Cx<'_>, number: u32) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        if client.send().and_then(|()| client.watch(cx.poller)).is_err() {
            self.clients.remove(&number);
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let clients = self.clients.values().filter_map(Client::deadline);
        let asked = self.asked.values().map(Asked::deadline);
        clients.chain(asked).chain(self.listen_at).min()
    }

    fn on_late(&mut self, cx: Cx<'_>) {
        self.clients.retain(|_, client| client.deadline().is_none_or(|at| at > cx.now));
        let late = self.asked.iter().filter(|(_, asked)| asked.deadline() <= cx.now);
        let late: Vec<u32> = late.map(|(number, _)| *number).collect();
        late.into_iter().for_each(|number| self.on_silence(cx, number));
        self.listen(cx);
    }
}

/// Bytes that nobody can foretell.
fn random<const N: usize>() -> Result<[u8; N], Errno> {
    let mut bytes = [0; N];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes)
}
