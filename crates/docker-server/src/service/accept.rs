//! A listener's loop: takes connections for as long as the service lives, whatever goes wrong.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::bind::{Accepted, Listener};
use super::log::Level;
use super::task::Shared;
use crate::connection;

/// How long to wait for somebody to close a file when there can be no more. Clients wait in the
/// listener's queue meanwhile; to ask again at once would only burn the processor.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// What a listener's loop works with.
pub(super) struct Door {
    pub(super) shared: Arc<Shared>,
    pub(super) engine: Engine,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Door {
    /// Takes connections until the service stops. The listener goes with it.
    pub(super) async fn keep(mut self, listener: Listener) {
        let mut short = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                // An error means that whoever would say so has gone.
                _ = self.stopped.wait_for(|stopped| *stopped) => return,
            };
            match accepted {
                Ok(accepted) => {
                    short = false;
                    self.welcome(accepted);
                }
                Err(error) if is_shortage(&error) => {
                    self.tell_of_shortage(short, &error);
                    short = true;
                    tokio::time::sleep(OUT_OF_FILES).await;
                }
                // A client that left again before it was its turn.
                Err(_) => {}
            }
        }
    }

    /// Once of each, or the log would say nothing else.
    fn tell_of_shortage(&self, was_short: bool, error: &io::Error) {
        let level = if was_short { Level::Debug } else { Level::Warn };
        let why = [("error", error.to_string())];
        self.shared.log().tell(level, "cannot take connections for now", &why);
    }

    fn welcome(&self, accepted: Accepted) {
        let (shared, engine) = (self.shared.clone(), self.engine.clone());
        let mut stopped = self.stopped.clone();
        tokio::spawn(async move {
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
            }
        });
    }
}

/// Whether there is too little of something, which others will give back.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| shortages.contains(&Errno::from_raw_os_error(code)))
}
