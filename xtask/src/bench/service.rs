//! The service beside Docker's daemon: how soon it answers, what it keeps in memory, and how many lists of containers
//! it makes a second.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::engines::{Docker, Engine};
use super::table::{Better, Tables};
use super::{inputs, installed};
use crate::{host, images, packages};

/// Containers that run while it is asked.
const MANY: usize = 100;
/// How many of them are started at once.
const AT_ONCE: usize = 4;
/// How long it is asked, each time.
const ASKED: Duration = Duration::from_secs(3);
/// How long it may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);
/// In a version that both speak.
const LIST: &[u8] = b"GET /v1.41/containers/json HTTP/1.1\r\nHost: d\r\n\r\n";
const PING: &[u8] = b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n";

/// Measures `rounds` times.
///
/// # Errors
/// A program is missing, or an engine fails at its work.
pub(crate) fn run(rounds: u32, program: &Path) -> Result<()> {
    packages::install(super::PACKAGES)?;
    let dir = PathBuf::from(format!("/var/tmp/dhow-bench-service-{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let dhow = Engine::dhow(installed(program, &dir)?, &dir);
    let tables = measure(&dir, rounds, &dhow);
    let cleaned = dhow.clean();
    let removed = fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()));
    host::say(&tables?.print());
    cleaned.and(removed)
}

fn measure(dir: &Path, rounds: u32, dhow: &Engine) -> Result<Tables> {
    let archive = images::make_busybox_only(&host::workspace().join("target/images"))?;
    let archive = inputs::text(&archive);
    let mut tables = Tables::default();
    tables.begin("dhow", "docker");
    for _ in 0..rounds {
        let (service, took) = Service::start(dhow, dir)?;
        tables.add(0, ("answers after its start", "ms", Better::Less), took);
        service.end()?;
    }
    let start = Instant::now();
    let docker = Docker::start(dir)?;
    tables.add(1, ("answers after its start", "ms", Better::Less), milliseconds(start));
    let (service, _) = Service::start(dhow, dir)?;
    let peer = docker.engine();
    tables.versions =
        vec![dhow.ok(&["--version"])?, peer.ok(&["version", "-f", "dockerd {{.Server.Version}}"])?];
    let sides = [
        (service.child.id(), dir.join("dhow-run/dhow.sock")),
        (docker.pid(), dir.join("docker.sock")),
    ];
    note_memory("memory without a container", &sides, &mut tables)?;
    for engine in [dhow, &peer] {
        engine.ok(&["load", "-q", "-i", &archive])?;
        start_many(engine)?;
    }
    // Whoever has listed them once has read what is kept.
    for (_, socket) in &sides {
        Client::connect(socket)?.ask(LIST)?;
    }
    note_memory("memory with 100", &sides, &mut tables)?;
    host::say(&format!("measuring: lists of {MANY} containers"));
    for _ in 0..rounds {
        for (side, (_, socket)) in sides.iter().enumerate() {
            for clients in [1, 16] {
                note_load((side, socket), clients, &mut tables)?;
            }
        }
    }
    note_memory("memory after it all", &sides, &mut tables)?;
    // A daemon that is to end them itself leaves many of them behind.
    for engine in [dhow, &peer] {
        let all = engine.ok(&["ps", "-aq"])?;
        engine.ok(&[&["rm", "-f"], &all.lines().collect::<Vec<_>>()[..]].concat())?;
    }
    service.end()?;
    Ok(tables)
}

fn start_many(engine: &Engine) -> Result<()> {
    let run = ["run", "-d", "--network", "none", "busybox", "sleep", "36000"];
    std::thread::scope(|scope| {
        let starters: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| (0..MANY / AT_ONCE).try_for_each(|_| engine.ok(&run).map(drop)))
            })
            .collect();
        starters.into_iter().try_for_each(|one| match one.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// What is asked of it by so many clients, each at once again when it has its answer.
fn note_load((side, socket): (usize, &PathBuf), clients: usize, tables: &mut Tables) -> Result<()> {
    let until = Instant::now() + ASKED;
    let mut taken = std::thread::scope(|scope| -> Result<Vec<f64>> {
        let clients: Vec<_> =
            (0..clients).map(|_| scope.spawn(|| ask_until(socket, until))).collect();
        let mut all = Vec::new();
        for client in clients {
            match client.join() {
                Ok(taken) => all.extend(taken?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })?;
    taken.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "some hundred thousands")]
    let each_second = taken.len() as f64 / ASKED.as_secs_f64();
    let late = taken.get(taken.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    let names = [
        format!("lists of {MANY}, {clients} at once"),
        format!("the slowest of a hundred of them, {clients} at once"),
    ];
    tables.add(side, (&names[0], "1/s", Better::More), each_second);
    tables.add(side, (&names[1], "ms", Better::Less), late);
    Ok(())
}

/// How many milliseconds each answer has taken.
fn ask_until(socket: &Path, until: Instant) -> Result<Vec<f64>> {
    let mut client = Client::connect(socket)?;
    let mut taken = Vec::new();
    while Instant::now() < until {
        let start = Instant::now();
        let body = client.ask(LIST)?;
        ensure!(body.len() > MANY * 100, "a list of {} bytes", body.len());
        taken.push(milliseconds(start));
    }
    Ok(taken)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn note_memory(name: &str, sides: &[(u32, PathBuf); 2], tables: &mut Tables) -> Result<()> {
    for (side, (pid, _)) in sides.iter().enumerate() {
        let all = family(*pid)?;
        let kib = all.iter().map(|pid| memory(*pid)).sum::<Result<f64>>()?;
        tables.add(side, (name, "MB", Better::Less), kib * 1024.0 / 1e6);
    }
    Ok(())
}

/// A daemon and its children; what guards its containers has parents of its own.
fn family(pid: u32) -> Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let mut all = vec![pid];
    for child in children.split_whitespace() {
        let child = child.parse()?;
        let name = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
        if name.trim() == "containerd" {
            all.push(child);
        }
    }
    Ok(all)
}

/// A process's share of the memory, in KiB.
fn memory(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// `dhow serve`.
struct Service {
    child: Child,
}

impl Service {
    /// One that has answered, and after how many milliseconds.
    fn start(dhow: &Engine, dir: &Path) -> Result<(Self, f64)> {
        let log = fs::File::create(dir.join("serve.log"))?;
        let start = Instant::now();
        let mut command = dhow.command(&["serve"]);
        let child = command.stdout(Stdio::null()).stderr(log).spawn()?;
        let socket = dir.join("dhow-run/dhow.sock");
        while Client::connect(&socket).and_then(|mut client| client.ask(PING)).is_err() {
            if start.elapsed() > PATIENCE {
                bail!("dhow serve does not answer: {}", fs::read_to_string(dir.join("serve.log"))?);
            }
            std::thread::yield_now();
        }
        Ok((Self { child }, milliseconds(start)))
    }

    fn end(mut self) -> Result<()> {
        host::run("kill", &["-TERM", &self.child.id().to_string()])?;
        let status = self.child.wait()?;
        ensure!(status.success(), "dhow serve: {status}");
        Ok(())
    }
}

/// A connection that is kept.
struct Client(BufReader<UnixStream>);

impl Client {
    fn connect(socket: &Path) -> Result<Self> {
        Ok(Self(BufReader::new(UnixStream::connect(socket)?)))
    }

    /// The body of the answer.
    fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.0.get_mut().write_all(request)?;
        let status = self.line()?;
        ensure!(status.starts_with("HTTP/1.1 200 "), "{status}");
        let mut length = None;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            }
        }
        match length {
            Some(length) => self.bytes(length),
            None => self.pieces(),
        }
    }

    /// A body of which each piece begins with its length.
    fn pieces(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line()?, 16)?;
            body.extend(self.bytes(length)?);
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.0.read_line(&mut line)? > 0, "the connection ends");
        Ok(line.trim_end().to_owned())
    }
}
