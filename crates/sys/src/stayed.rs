//! A process of this program that stays where it is, while the one that started it enters other namespaces.
//!
//! Owns starting it and the conversation. What it is asked is the caller's business: something that only whoever
//! is outside can do, as to talk to a service that looks at who its client is.

use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use crate::Errno;
use crate::fdpass::{PassError, recv_frame, send_frame};
use crate::process::{CloneArgs, clone3};

/// Longest question or answer, in bytes.
const LONGEST: usize = 4 << 20;

/// One that stays as long as this process lives. It has this process's streams, and nothing of what is opened
/// later.
#[derive(Debug)]
pub struct Stayed(Mutex<UnixStream>);

/// Why nobody answers.
#[derive(Debug, thiserror::Error)]
pub enum StayedError {
    /// It cannot be started.
    #[error("start a process that stays outside of the user namespace: {0}")]
    Start(Errno),
    /// It is gone.
    #[error("the process that stays outside of the user namespace has ended")]
    Gone,
    /// The conversation.
    #[error(transparent)]
    Talk(#[from] PassError),
}

/// Starts one that answers questions by `serve`. Only a process with one thread can.
///
/// # Errors
/// There are too many processes or descriptors.
pub fn stay(serve: impl Fn(&[u8]) -> Vec<u8>) -> Result<Stayed, StayedError> {
    let pair = UnixStream::pair();
    let (ours, theirs) = pair
        .map_err(|error| StayedError::Start(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    let mut ours = Some(ours);
    let end = &mut ours;
    let child = clone3(&CloneArgs::default(), move || {
        // Without its own copy of our end it sees this process end.
        drop(end.take());
        while let Ok(Some(question)) = recv_frame(&theirs, LONGEST, 0) {
            if send_frame(&theirs, &serve(&question.bytes), &[]).is_err() {
                break;
            }
        }
        0
    });
    child.map_err(StayedError::Start)?;
    ours.map(|ours| Stayed(Mutex::new(ours))).ok_or(StayedError::Gone)
}

impl Stayed {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// It does not live any more, or the question is too long.
    pub fn ask(&self, question: &[u8]) -> Result<Vec<u8>, StayedError> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        send_frame(&*stream, question, &[])?;
        let answer = recv_frame(&*stream, LONGEST, 0)?;
        answer.map(|answer| answer.bytes).ok_or(StayedError::Gone)
    }
}
