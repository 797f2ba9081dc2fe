//! Requests as the service sees them: how many are under way, what each was, and how it went.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use engine::view::UnreadView;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use jiff::Timestamp;
use tokio::sync::watch;

use super::log::{Level, Log};
use super::metrics::{self, Action, Counts};
use super::{Metrics, Wiring};
use crate::lines::Lines;
use crate::params::Query;
use crate::reply::{Body, Reply};
use crate::route::{self, Route};
use crate::turn::{Behind, Turn};

/// By which a request is found in the log. What the client calls it counts, if it can be told.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name of a client's that is taken over.
const LONGEST_ID: usize = 64;

/// What all connections of a service share.
#[derive(Debug)]
pub(crate) struct Shared {
    wiring: Wiring,
    counts: Counts,
    /// Requests under way that end by themselves.
    under_way: watch::Sender<usize>,
    requests: AtomicU64,
    /// Tells the requests of this process from those of the one before it.
    run: String,
    lines: Lines,
}

impl Shared {
    pub(crate) fn new(wiring: Wiring) -> Self {
        let (under_way, _) = watch::channel(0);
        let run = format!("{:x}", Timestamp::now().as_millisecond());
        Self {
            wiring,
            counts: Counts::new(wiring.trim),
            under_way,
            requests: AtomicU64::new(0),
            run,
            lines: Lines::default(),
        }
    }

    pub(crate) const fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Tells once of a container that cannot be read.
    pub(crate) fn tell_unread(&self, view: &UnreadView) {
        if self.lines.is_news(view) {
            let fields = [("container", view.name.to_string()), ("why", view.why.clone())];
            self.log().warn("a container cannot be read", &fields);
        }
    }

    pub(crate) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether whoever asks is told what is measured.
    pub(crate) fn shows_metrics(&self) -> bool {
        self.wiring.metrics == Metrics::Shown
    }

    pub(crate) const fn log(&self) -> Log {
        self.wiring.log
    }

    /// How much the client has not read yet of what it was sent.
    pub(super) fn unread(&self, socket: &impl AsFd) -> u32 {
        (self.wiring.unread)(socket.as_fd())
    }

    pub(super) fn requests_under_way(&self) -> watch::Receiver<usize> {
        self.under_way.subscribe()
    }

    pub(crate) fn under_way(&self) -> usize {
        *self.under_way.borrow()
    }

    /// Returns when no request is under way that ends by itself.
    pub(super) async fn idle(&self) {
        // It can only fail when there is no sender, and that is ours.
        let _ = self.under_way.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Notes that a request has come.
    pub(crate) fn begin<B: hyper::body::Body>(
        self: &Arc<Self>,
        request: &Request<B>,
        turn: Arc<Turn>,
    ) -> Task {
        turn.answering(Behind::of(request));
        let target = route::target(request.method(), request.uri().path());
        let query = Query::parse(request.uri().query().unwrap_or_default()).ok();
        let route = target.route.as_ref();
        let action = route.and_then(|route| Action::of(route, query.as_ref()));
        let lasts =
            |route: Route| query.as_ref().is_some_and(|query| route.lasts(query, Timestamp::now()));
        let held = (!target.route.is_some_and(lasts)).then(|| Held::new(self.clone()));
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let id = id_given(request.headers()).unwrap_or_else(|| format!("{}-{number}", self.run));
        let what = if self.log().tells(Level::Warn) {
            format!("{} {}", request.method(), request.uri().path())
        } else {
            String::new()
        };
        Task {
            id,
            what,
            method: metrics::method(request.method()),
            action,
            since: Instant::now(),
            status: None,
            shared: self.clone(),
            turn,
            held,
        }
    }
}

/// The client's own name for its request: a word that can be written down as it is.
fn id_given(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b);
    let fits = !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(plain);
    fits.then(|| id.to_owned())
}

/// A place among the requests that are under way.
#[derive(Debug)]
struct Held(Arc<Shared>);

impl Held {
    fn new(shared: Arc<Shared>) -> Self {
        shared.under_way.send_modify(|count| *count += 1);
        Self(shared)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

/// A request, until its reply has been made or its connection is gone. Its place among those under way is kept
/// until the reply has left.
#[derive(Debug)]
pub(crate) struct Task {
    id: String,
    what: String,
    method: &'static str,
    /// `None` of what is not counted apart.
    action: Option<Action>,
    since: Instant,
    /// None as long as there is no reply: a connection that was given to a container has none.
    status: Option<StatusCode>,
    shared: Arc<Shared>,
    turn: Arc<Turn>,
    /// None of what lasts by its nature.
    held: Option<Held>,
}

impl Task {
    /// The reply, in which the request is under way until the last byte of it is sent.
    pub(crate) fn replied(mut self, mut reply: Reply) -> Reply {
        self.status = Some(reply.status());
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            reply.headers_mut().insert(REQUEST_ID, id);
        }
        reply.map(|body| Watched { body, _task: self }.boxed_unsync())
    }
}

/// A body, and what it is to the service until it is sent or nobody wants more of it. How long it is stays
/// known: clients are told so where they can be.
struct Watched {
    body: Body,
    _task: Task,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.turn.said(self.held.take().map(|held| Box::new(held) as _));
        self.shared.counts.request(self.method, self.status);
        let is_done = self.status.is_some_and(|status| status.is_success());
        if let Some(action) = self.action.filter(|_| is_done) {
            self.shared.counts.took(action, self.since.elapsed());
        }
        let failed = self.status.is_some_and(|status| status.is_server_error());
        let level = if failed { Level::Warn } else { Level::Debug };
        let log = self.shared.log();
        if !log.tells(level) {
            return;
        }
        let status =
            self.status.map_or("given away".to_owned(), |status| status.as_u16().to_string());
        log.tell(
            level,
            "request",
            &[
                ("id", self.id.clone()),
                ("request", self.what.clone()),
                ("status", status),
                ("ms", self.since.elapsed().as_millis().to_string()),
            ],
        );
    }
}
