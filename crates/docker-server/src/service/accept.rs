//! A listener's loop: takes connections for as long as the service lives, whatever goes wrong.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use docker_api::Transport;
use engine::Engine;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;

use super::bind::{Accepted, Listener};
use super::log::Level;
use super::task::Shared;
use super::tcp;
use super::tls::Guard;
use crate::connection;
use crate::web;

/// How long to wait when there can be no connection, mostly for somebody to close a file. Clients wait in
/// the listener's queue meanwhile; to ask again at once would only burn the processor.
const PAUSE: Duration = Duration::from_millis(50);

/// Bytes in flight between the dashboard and the API, each way.
const PIPE: usize = 64 << 10;

/// How long one who asks for figures may take for all of it.
const MEASURED: Duration = Duration::from_secs(10);

/// What a listener's loop works with.
pub(super) struct Door {
    pub(super) shared: Arc<Shared>,
    pub(super) engine: Engine,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Door {
    /// Takes connections until the service stops. The listener goes with it.
    pub(super) async fn keep(mut self, listener: Listener) {
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                // An error means that whoever would say so has gone.
                _ = self.stopped.wait_for(|stopped| *stopped) => return,
            };
            match accepted {
                Ok(accepted) => {
                    failing = false;
                    self.welcome(accepted);
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    self.tell_of_failure(failing, &error);
                    failing = true;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Once of each, or the log would say nothing else.
    fn tell_of_failure(&self, was_failing: bool, error: &io::Error) {
        let level = if was_failing { Level::Debug } else { Level::Warn };
        let why = [("error", error.to_string())];
        self.shared.log().tell(level, "cannot take connections for now", &why);
    }

    fn welcome(&self, accepted: Accepted) {
        let (shared, engine) = (self.shared.clone(), self.engine.clone());
        let mut stopped = self.stopped.clone();
        tokio::spawn(async move {
            let counted = shared.clone();
            let _connected = counted.counts().connection();
            let stop = async move {
                let _ = stopped.wait_for(|stopped| *stopped).await;
            };
            match accepted {
                Accepted::Unix(stream) => {
                    let asked = shared.clone();
                    let unread = move |stream: &UnixStream| asked.unread(stream);
                    // How it ended matters to the client alone, who knows.
                    let _ = connection::serve_for(stream, (engine, shared), unread, stop).await;
                }
                Accepted::Metrics(stream) => {
                    tell_figures(stream, (engine, shared), stop).await;
                }
                Accepted::Web(guest) => {
                    web::welcome(guest, own_api(engine, shared), stop).await;
                }
                Accepted::Tcp(stream, guard) => {
                    welcome_from_afar((stream, guard), (engine, shared), stop).await;
                }
            }
        });
    }
}

/// The way from the dashboard to the API behind it.
fn own_api(engine: Engine, shared: Arc<Shared>) -> Transport {
    Transport::memory(move || {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let service = (engine.clone(), shared.clone());
        // The page's own connection ends when the service does, and this one with it.
        let stop = std::future::pending();
        tokio::spawn(connection::serve_for(theirs, service, |_| 0, stop));
        Ok(Box::new(ours))
    })
}

/// Serves somebody who may ask for figures alone. Everybody may connect there, and is not to take what those need who
/// may do more: one too many is sent away.
async fn tell_figures(
    stream: TcpStream,
    (engine, shared): (Engine, Arc<Shared>),
    stop: impl Future<Output = ()>,
) {
    let all = shared.clone();
    let Ok(_place) = all.counts().readers.try_acquire() else { return };
    let _ = tcp::prepare(&stream);
    let served = connection::serve_metrics(stream, (engine, shared), stop);
    let _ = tokio::time::timeout(MEASURED, served).await;
}

/// Serves a client on another machine, once it is clear who it is.
async fn welcome_from_afar(
    (stream, guard): (TcpStream, Guard),
    (engine, shared): (Engine, Arc<Shared>),
    stop: impl Future<Output = ()>,
) {
    // Without these its end would only be seen later.
    let _ = tcp::prepare(&stream);
    let pages = guard.pages();
    let Some(config) = guard.config() else {
        let _ = connection::serve_from_afar(stream, (engine, shared), pages, stop).await;
        return;
    };
    let from = stream.peer_addr().map_or("unknown".to_owned(), |peer| peer.to_string());
    match tcp::agree(stream, config).await {
        Ok(stream) => {
            let _ = connection::serve_from_afar(stream, (engine, shared), pages, stop).await;
        }
        Err(error) => {
            let why = [("from", from), ("error", error.to_string())];
            shared.log().info("a client was turned away", &why);
        }
    }
}

/// Whether it is about one client alone, who left again before it was its turn, or about this moment. All
/// else would come again at once: a shortage, which others have to end, or a socket that is none any more.
fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let passing = [Errno::CONNABORTED, Errno::INTR, Errno::PROTO];
    error.raw_os_error().is_some_and(|code| passing.contains(&Errno::from_raw_os_error(code)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn only_what_does_not_come_again_at_once_passes() {
        for (errno, passes) in [
            (Errno::CONNABORTED, true),
            (Errno::INTR, true),
            (Errno::PROTO, true),
            (Errno::MFILE, false),
            (Errno::NOMEM, false),
            (Errno::INVAL, false),
            (Errno::PERM, false),
        ] {
            assert_eq!(is_passing(&errno.into()), passes, "{errno}");
        }
        assert!(!is_passing(&io::Error::other("no number")));
    }
}
