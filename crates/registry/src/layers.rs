//! The layers of an image, several at once, each unpacked while it comes.
//!
//! What another operation brings is waited for only when nothing of ours is under way or staged, so
//! that two pulls never wait for each other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use store::oci::LayerSpec;
use store::{BeginLayer, LayerError, LayerIngest, Operation};

use crate::blob::{BlobFailure, BlobReader, Tell};
use crate::event::{Event, LayerStep};
use crate::pull::PullError;
use crate::session::{Caller, Session};

/// How the layers of one image are fetched.
pub(crate) struct Fetch<'f> {
    pub(crate) session: &'f Session,
    pub(crate) operation: &'f Operation,
    pub(crate) tell: &'f Tell<'f>,
}

/// One round over layers, shared by its threads.
struct Round<'l> {
    queue: Mutex<VecDeque<&'l LayerSpec>>,
    outcome: Mutex<Outcome<'l>>,
    stop: AtomicBool,
}

#[derive(Default)]
struct Outcome<'l> {
    /// What others bring.
    busy: Vec<&'l LayerSpec>,
    /// What went wrong first.
    error: Option<PullError>,
}

/// How one layer fared.
enum Fared {
    Here,
    Busy,
}

/// Whether a layer is begun for the first time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chance {
    First,
    Last,
}

impl<'f> Fetch<'f> {
    /// Fetches layers that are not here, no two of them alike.
    pub(crate) fn all(
        &self,
        caller: &mut Caller<'f>,
        layers: Vec<&LayerSpec>,
    ) -> Result<(), PullError> {
        let mut left = layers;
        loop {
            left = self.round(caller, left)?;
            let Some(first) = left.first() else { return Ok(()) };
            self.operation.flush()?;
            self.operation.wait_for_layer(&first.blob).map_err(|error| self.bad(first, error))?;
        }
    }

    /// Fetches what nobody else brings; returns the rest.
    fn round<'l>(
        &self,
        caller: &mut Caller<'f>,
        layers: Vec<&'l LayerSpec>,
    ) -> Result<Vec<&'l LayerSpec>, PullError> {
        let helpers = self.session.limits().parallel.min(layers.len()).saturating_sub(1);
        let round = Round {
            queue: Mutex::new(layers.into()),
            outcome: Mutex::default(),
            stop: AtomicBool::new(false),
        };
        std::thread::scope(|scope| {
            for _ in 0..helpers {
                let helper = || match self.session.caller() {
                    Ok(mut caller) => self.work(&mut caller, &round),
                    Err(error) => round.fail(PullError::Transport(error)),
                };
                let name = "pull".to_owned();
                // The layers are in a queue: fewer threads fetch them as well.
                drop(std::thread::Builder::new().name(name).spawn_scoped(scope, helper));
            }
            self.work(caller, &round);
        });
        let Outcome { busy, error } =
            round.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        error.map_or(Ok(busy), Err)
    }

    /// What one thread of a round does.
    fn work(&self, caller: &mut Caller<'f>, round: &Round<'_>) {
        while let Some(layer) = round.next() {
            match self.one(caller, layer, &round.stop, Chance::First) {
                Ok(Fared::Here) => {}
                Ok(Fared::Busy) => {
                    self.tell(layer, LayerStep::Waiting);
                    round.outcome().busy.push(layer);
                }
                Err(error) => round.fail(error),
            }
        }
    }

    fn one(
        &self,
        caller: &mut Caller<'f>,
        layer: &LayerSpec,
        stop: &AtomicBool,
        chance: Chance,
    ) -> Result<Fared, PullError> {
        let begun = self.operation.begin_layer(layer).map_err(|error| self.bad(layer, error))?;
        let ingest = match begun {
            BeginLayer::Busy => return Ok(Fared::Busy),
            BeginLayer::Present => {
                self.tell(layer, LayerStep::Exists);
                return Ok(Fared::Here);
            }
            BeginLayer::Started(ingest) => ingest,
        };
        let is_resumed = ingest.offset() > 0;
        match self.receive(caller, layer, stop, *ingest) {
            Ok(()) => {
                self.tell(layer, LayerStep::Extracting { current: layer.size, total: layer.size });
                self.tell(layer, LayerStep::Done);
                Ok(Fared::Here)
            }
            // What lay here from an earlier pull may have been damaged. It is gone now.
            Err(PullError::Layer { .. }) if is_resumed && chance == Chance::First => {
                self.one(caller, layer, stop, Chance::Last)
            }
            Err(error) => Err(error),
        }
    }

    fn receive(
        &self,
        caller: &mut Caller<'f>,
        layer: &LayerSpec,
        stop: &AtomicBool,
        ingest: LayerIngest,
    ) -> Result<(), PullError> {
        let mut reader = BlobReader::new(caller, layer, self.tell, stop, ingest.offset());
        let received = self.operation.receive(ingest, &mut reader);
        // What the reader says is the cause of what the store says.
        match (reader.into_failure(), received) {
            (_, Ok(_)) => Ok(()),
            (Some(source), Err(_)) => Err(self.failed(layer, source)),
            (None, Err(error)) => Err(self.bad(layer, error)),
        }
    }

    fn tell(&self, layer: &LayerSpec, step: LayerStep) {
        (self.tell)(Event::Layer(layer.blob, step));
    }

    fn bad(&self, layer: &LayerSpec, source: LayerError) -> PullError {
        let registry = self.session.registry.clone();
        PullError::Layer { registry, digest: layer.blob, source: Box::new(source) }
    }

    fn failed(&self, layer: &LayerSpec, source: BlobFailure) -> PullError {
        let registry = self.session.registry.clone();
        PullError::Download { registry, digest: layer.blob, source: Box::new(source) }
    }
}

impl<'l> Round<'l> {
    /// The next layer, unless one has failed.
    fn next(&self) -> Option<&'l LayerSpec> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome<'l>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first error counts; the others follow from it.
    fn fail(&self, error: PullError) {
        self.stop.store(true, Ordering::Relaxed);
        self.outcome().error.get_or_insert(error);
    }
}
