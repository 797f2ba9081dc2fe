//! One conversation with a criu that was started for it (`criu swrk`): a request, what it tells
//! meanwhile, an answer.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use sys::Errno;
use sys::fdpass::PassError;

use super::wire::{Kind, Notify, Request, Response};

/// Longer than any answer.
const LONGEST: usize = 64 << 10;

/// Our end of the connection.
#[derive(Debug)]
pub(super) struct Talk(OwnedFd);

/// What criu is told when it has come so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    GoOn,
    Stop,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum TalkError {
    #[error("the connection: {0}")]
    Socket(Errno),
    #[error("what it says cannot be read: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error("it says nothing that was asked for")]
    Confused,
    #[error("it ended without an answer")]
    Ended,
    #[error("it took longer than {} s", .0.as_secs())]
    TooLong(Duration),
}

impl Talk {
    /// Both ends: ours, and what becomes criu's standard input.
    pub(super) fn pair() -> Result<(Self, OwnedFd), Errno> {
        let pair = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        );
        pair.map(|(ours, theirs)| (Self(ours), theirs))
    }

    /// Asks, answers what criu asks in turn, and returns its answer. Without a limit it may take as
    /// long as it wants to.
    pub(super) fn ask(
        &self,
        request: &Request,
        limit: Option<Duration>,
        mut meanwhile: impl FnMut(&Notify, Vec<OwnedFd>) -> Word,
    ) -> Result<Response, TalkError> {
        let deadline = limit.map(|limit| (Instant::now() + limit, limit));
        self.say(request)?;
        loop {
            if let Some((at, limit)) = deadline {
                self.wait(at).map_err(|errno| match errno {
                    Errno::TIMEDOUT => TalkError::TooLong(limit),
                    errno => TalkError::Socket(errno),
                })?;
            }
            let (response, fds) = self.hear()?;
            if response.kind != i32::from(Kind::Notify) {
                return answer_to(request, response);
            }
            let notify = response.notify.unwrap_or_default();
            let goes_on = meanwhile(&notify, fds) == Word::GoOn;
            let kind = Kind::Notify.into();
            self.say(&Request { kind, options: None, notify_success: Some(goes_on) })?;
        }
    }

    fn say(&self, request: &Request) -> Result<(), TalkError> {
        let sent = sys::fdpass::send(&self.0, &request.encode_to_vec(), &[]);
        sent.map(drop).map_err(|error| lost(&error))
    }

    fn wait(&self, deadline: Instant) -> Result<(), Errno> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        let mut fds = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        match rustix::io::retry_on_intr(|| poll(&mut fds, timeout.as_ref()))? {
            0 => Err(Errno::TIMEDOUT),
            _ => Ok(()),
        }
    }

    fn hear(&self) -> Result<(Response, Vec<OwnedFd>), TalkError> {
        let (mut bytes, mut fds) = (vec![0; LONGEST], Vec::new());
        match sys::fdpass::recv(&self.0, &mut bytes, &mut fds) {
            Ok(0) => Err(TalkError::Ended),
            Ok(len) => Ok((Response::decode(&bytes[..len])?, fds)),
            Err(error) => Err(lost(&error)),
        }
    }
}

fn lost(error: &PassError) -> TalkError {
    match error.errno().unwrap_or(Errno::IO) {
        Errno::PIPE | Errno::CONNRESET => TalkError::Ended,
        errno => TalkError::Socket(errno),
    }
}

/// It may also be criu's word that it cannot even read the question.
fn answer_to(request: &Request, response: Response) -> Result<Response, TalkError> {
    let is_answer = response.kind == request.kind || !response.success;
    if is_answer { Ok(response) } else { Err(TalkError::Confused) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(kind: Kind, success: bool) -> Response {
        let kind = kind.into();
        Response { kind, success, restored: None, notify: None, errno: None, message: None }
    }

    /// A criu that says these things, each after it was told something; and what it was told.
    fn criu(theirs: OwnedFd, says: Vec<Response>) -> std::thread::JoinHandle<Vec<Request>> {
        std::thread::spawn(move || {
            let mut heard = Vec::new();
            for response in says {
                let (mut bytes, mut fds) = (vec![0; LONGEST], Vec::new());
                let len = sys::fdpass::recv(&theirs, &mut bytes, &mut fds).unwrap();
                heard.push(Request::decode(&bytes[..len]).unwrap());
                sys::fdpass::send(&theirs, &response.encode_to_vec(), &[]).unwrap();
            }
            heard
        })
    }

    fn request() -> Request {
        Request { kind: Kind::Dump.into(), options: None, notify_success: None }
    }

    #[test]
    fn what_criu_asks_meanwhile_is_answered() {
        let (talk, theirs) = Talk::pair().unwrap();
        let notify = Some(Notify { script: Some("post-dump".to_owned()), pid: None });
        let says =
            vec![Response { notify, ..response(Kind::Notify, true) }, response(Kind::Dump, false)];
        let criu = criu(theirs, says);
        let mut scripts = Vec::new();
        let answer = talk.ask(&request(), None, |notify, _| {
            scripts.push(notify.script().to_owned());
            Word::Stop
        });
        assert!(!answer.unwrap().success);
        assert_eq!(scripts, ["post-dump"]);
        assert_eq!(criu.join().unwrap()[1].notify_success, Some(false));
    }

    #[test]
    fn a_criu_that_ends_or_hangs_is_not_waited_for() {
        let (talk, theirs) = Talk::pair().unwrap();
        drop(criu(theirs, Vec::new()).join());
        let ended = talk.ask(&request(), None, |_, _| Word::GoOn);
        assert!(matches!(ended, Err(TalkError::Ended)), "{ended:?}");
        let (talk, _theirs) = Talk::pair().unwrap();
        let late = talk.ask(&request(), Some(Duration::ZERO), |_, _| Word::GoOn);
        assert!(matches!(late, Err(TalkError::TooLong(_))), "{late:?}");
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let (talk, theirs) = Talk::pair().unwrap();
        let criu = criu(theirs, vec![response(Kind::Restore, true)]);
        let answer = talk.ask(&request(), None, |_, _| Word::GoOn);
        assert!(matches!(answer, Err(TalkError::Confused)), "{answer:?}");
        criu.join().unwrap();
    }
}
