//! A terminal or pipes connected to a container: streams, keys, size, signals.
//!
//! Owns everything that happens between attaching and the end of the output. Who is attached to
//! what, and what follows, is the commands' business.

pub(crate) mod input;
pub(crate) mod output;
pub(crate) mod signals;
pub(crate) mod stay;
pub(crate) mod terminal;

use crate::error::Failure;
use docker_api::client::Client;
use docker_api::stream::{Attached, AttachedInput, AttachedOutput};
use input::{Event, Input};
use model::detach::DetachKeys;
use signals::{Caught, Proxy, Signals};
use terminal::{Raw, Size};

/// What a session is connected to, for its size and its signals.
#[derive(Clone, Debug)]
pub(crate) enum Process {
    Container(String),
    Exec(String),
}

/// How a session is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Whether our input is passed on.
    pub(crate) stdin: bool,
    /// Whether the process has a terminal.
    pub(crate) tty: bool,
    /// Whether signals are passed on.
    pub(crate) proxy: Proxy,
    /// The keys that detach.
    pub(crate) keys: DetachKeys,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The process closed its output.
    Output,
    /// The user typed the keys.
    Detached,
}

/// Everything that listens from before the process starts, so that nothing is missed.
pub(crate) struct Session {
    setup: Setup,
    signals: Signals,
    /// Held for its end: it gives the terminal back.
    raw: Option<Raw>,
}

impl Session {
    /// Takes the terminal and the signals.
    pub(crate) fn open(setup: Setup) -> Result<Self, Failure> {
        let signals = Signals::listen(&setup)
            .map_err(|e| Failure::error(format!("cannot listen to signals: {e}")))?;
        let raw = if setup.tty && setup.stdin { Raw::enter()? } else { None };
        Ok(Self { setup, signals, raw })
    }

    /// Gives the terminal back ahead of time, to print something to it.
    pub(crate) fn restore(&mut self) {
        self.raw = None;
    }

    /// Gives the terminal another size than the one that [`Session::run`] gives it, so that the
    /// process draws its screen, or a shell its prompt, for whoever comes later.
    pub(crate) async fn ask_for_redraw(&self, client: &Client, process: &Process) {
        if let (true, Some(Size { height, width })) = (self.setup.tty, terminal::size()) {
            let size = Size { height: height.saturating_add(1), width: width.saturating_add(1) };
            resize(client, process, size).await;
        }
    }

    /// Passes everything on until the process closes its output or the user detaches.
    pub(crate) async fn run(
        &mut self,
        client: &Client,
        process: &Process,
        attached: Attached,
    ) -> Result<Ended, Failure> {
        let Attached { output, input } = attached;
        if self.setup.tty {
            match_size(client, process).await;
        }
        // Both go on where they were when a signal comes in between.
        let mut pump = std::pin::pin!(pump(output));
        let mut feed = std::pin::pin!(feed(input, self.setup.clone()));
        loop {
            tokio::select! {
                ended = &mut pump => { ended?; return Ok(Ended::Output); }
                () = &mut feed => {
                    if let Process::Exec(id) = process {
                        // While the connection is there, whose end would take the process along. Another
                        // daemon than ours knows nothing of this, and keeps it anyway.
                        let _ = client.exec_keep(id).await;
                    }
                    return Ok(Ended::Detached);
                }
                caught = self.signals.next() => self.caught(client, process, caught).await?,
            }
        }
    }

    /// Passes signals on until `work` is done: for a process whose streams are not ours.
    pub(crate) async fn until<T>(
        &mut self,
        client: &Client,
        process: &Process,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                caught = self.signals.next() => self.caught(client, process, caught).await?,
            }
        }
    }

    async fn caught(
        &mut self,
        client: &Client,
        process: &Process,
        caught: Caught,
    ) -> Result<(), Failure> {
        match caught {
            Caught::Resized => match_size(client, process).await,
            Caught::Fatal(number) => {
                self.restore();
                return Err(Failure::silent(128_u8.saturating_add(number)));
            }
            Caught::Enough => {
                self.restore();
                return Err(Failure::error("got 3 SIGTERM/SIGINTs, forcefully exiting"));
            }
            Caught::Proxy(name) => {
                if let Process::Container(id) = process {
                    // It may not run yet, or no more: then there is nobody to signal.
                    let _ = client.container_kill(id, Some(name)).await;
                }
            }
        }
        Ok(())
    }
}

/// Gives the process's terminal the size of ours.
async fn match_size(client: &Client, process: &Process) {
    if let Some(size) = terminal::size() {
        resize(client, process, size).await;
    }
}

/// Resizes the process's terminal. The process may be gone already.
async fn resize(client: &Client, process: &Process, Size { height, width }: Size) {
    let _ = match process {
        Process::Container(id) => client.container_resize(id, height, width).await,
        Process::Exec(id) => client.exec_resize(id, height, width).await,
    };
}

/// Copies output until it ends.
async fn pump(mut output: AttachedOutput) -> Result<(), Failure> {
    while let Some(chunk) = output.next().await? {
        output::write(chunk.channel, &chunk.bytes).await?;
    }
    Ok(())
}

/// Copies input. It returns when the user detaches, and not at all otherwise: without input there
/// is still output to wait for.
async fn feed(mut sink: AttachedInput, setup: Setup) {
    if !setup.stdin {
        return std::future::pending().await;
    }
    let mut input = Input::start(setup.tty.then_some(setup.keys));
    loop {
        match input.next().await {
            Event::Detach => return,
            Event::Bytes(bytes) => {
                if sink.write(&bytes).await.is_err() {
                    // The process reads no more; what it writes is still wanted.
                    break;
                }
            }
            Event::End => {
                // The same holds for this error.
                let _ = sink.close().await;
                break;
            }
        }
    }
    std::future::pending().await
}
