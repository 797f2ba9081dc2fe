//! Requests of one registry about one repository, authorised, and tried again where the registry asks for that.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::answer::{self, Code, Reason};
use crate::auth::{self, Auth, AuthError};
use crate::credentials::Credentials;
use crate::limits::{Attempts, Limits};
use crate::transport::{Answer, Ask, Http, Method, Net, TransportError};
use crate::url::{Origin, Url};

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The registry says no.
    #[error("the registry answered {status}{}", answer::suffix(.reason))]
    Status {
        /// Its status.
        status: StatusCode,
        /// Its words.
        reason: Reason,
    },
    /// There is no authorisation.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// On the way.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

impl RequestError {
    /// Whether whoever asks has asked too often.
    pub(crate) fn is_rate_limit(&self) -> bool {
        match self {
            Self::Status { status, reason } => {
                *status == StatusCode::TOO_MANY_REQUESTS || reason.code == Code::TooManyRequests
            }
            Self::Auth(AuthError::Service { status, .. }) => {
                *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Auth(_) | Self::Transport(_) => false,
        }
    }
}

/// What is asked of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    /// To read it.
    Pull,
    /// To add to it, blobs of these other repositories too.
    Push(Vec<String>),
    /// Nothing: whether somebody is let in at all.
    Enter,
}

impl Access {
    /// As token services are asked for it.
    fn scopes(&self, repository: &str) -> Vec<String> {
        let pull = |repository: &String| format!("repository:{repository}:pull");
        match self {
            Self::Pull => vec![pull(&repository.to_owned())],
            Self::Push(others) => {
                let own = format!("repository:{repository}:pull,push");
                std::iter::once(own).chain(others.iter().map(pull)).collect()
            }
            Self::Enter => Vec::new(),
        }
    }
}

/// What the threads of one pull or push share.
#[derive(Debug)]
pub(crate) struct Session {
    /// As the reference names it.
    pub(crate) registry: String,
    net: Net,
    origin: Origin,
    repository: String,
    auth: Auth,
}

impl Session {
    pub(crate) fn new(
        net: Net,
        origin: Origin,
        (registry, repository): (&str, &str),
        access: &Access,
        credentials: Credentials,
    ) -> Self {
        let auth = Auth::new(credentials, origin.clone(), access.scopes(repository));
        let (registry, repository) = (registry.to_owned(), repository.to_owned());
        Self { registry, net, origin, repository, auth }
    }

    /// Below the repository.
    pub(crate) fn at(&self, path: &str) -> Url {
        self.origin.at(format!("/v2/{}/{path}", self.repository))
    }

    /// Anywhere at the registry.
    pub(crate) fn top(&self, path: &str) -> Url {
        self.origin.at(path.to_owned())
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.net.limits
    }

    /// One thread's way to the registry.
    pub(crate) fn caller(&self) -> Result<Caller<'_>, TransportError> {
        Ok(Caller { session: self, http: Http::new(&self.net)? })
    }
}

/// One thread's way to the registry.
#[derive(Debug)]
pub(crate) struct Caller<'s> {
    pub(crate) session: &'s Session,
    http: Http<'s>,
}

/// A document as it came.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    /// Without parameters; empty if there was none.
    pub(crate) media_type: String,
}

impl Caller<'_> {
    /// `GET /v2/<repository>/<path>`: an answer of status 2xx.
    pub(crate) fn get(&mut self, path: &str, headers: HeaderMap) -> Result<Answer, RequestError> {
        self.ask(&Ask { url: self.session.at(path), headers, method: Method::Get })
    }

    /// An answer of status 2xx; what the registry has no time for is asked again.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Result<Answer, RequestError> {
        let limits = self.session.limits();
        let mut attempts = Attempts::new();
        loop {
            let answer = self.authorized(ask.clone())?;
            let status = answer.status;
            let pause = is_passing(status).then(|| attempts.fail(limits)).flatten();
            let Some(pause) = pause else { return self.expect_success(answer) };
            let wished =
                retry_after(&answer.headers).map(|wished| wished.min(limits.longest_retry_after));
            answer.body.discard();
            std::thread::sleep(wished.unwrap_or(pause));
        }
    }

    /// As [`Caller::ask`]; a connection that breaks is no answer, and it is asked again.
    pub(crate) fn ask_again(&mut self, ask: &Ask) -> Result<Answer, RequestError> {
        let mut attempts = Attempts::new();
        loop {
            let error = match self.ask(ask) {
                Err(RequestError::Transport(error)) if error.is_passing() => error,
                outcome => return outcome,
            };
            match attempts.fail(self.session.limits()) {
                Some(pause) => std::thread::sleep(pause),
                None => return Err(error.into()),
            }
        }
    }

    /// An answer of status 2xx, to a request that is made once.
    pub(crate) fn ask_once(&mut self, ask: Ask) -> Result<Answer, RequestError> {
        let answer = self.authorized(ask)?;
        self.expect_success(answer)
    }

    fn expect_success(&self, answer: Answer) -> Result<Answer, RequestError> {
        let status = answer.status;
        if status.is_success() {
            return Ok(answer);
        }
        let reason = answer::reason(answer, self.session.limits().document);
        Err(RequestError::Status { status, reason })
    }

    /// A document, whole.
    pub(crate) fn document(
        &mut self,
        path: &str,
        headers: &HeaderMap,
        max: u64,
    ) -> Result<Received, RequestError> {
        let limits = self.session.limits();
        let mut attempts = Attempts::new();
        loop {
            let error = match self.document_once(path, headers, max) {
                Err(RequestError::Transport(error)) if error.is_interruption() => error,
                outcome => return outcome,
            };
            match attempts.fail(limits) {
                Some(pause) => std::thread::sleep(pause),
                None => return Err(error.into()),
            }
        }
    }

    fn document_once(
        &mut self,
        path: &str,
        headers: &HeaderMap,
        max: u64,
    ) -> Result<Received, RequestError> {
        let answer = self.get(path, headers.clone())?;
        let media_type = answer.headers.get(header::CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        let bytes = answer.body.document(max, self.session.limits().document)?;
        Ok(Received { bytes, media_type })
    }

    /// Sends a request with what authorisation there is, and once more with what the registry asks
    /// for. Only the registry itself is listened to about that, not one that it redirects to, and it
    /// alone is shown anything.
    fn authorized(&mut self, mut ask: Ask) -> Result<Answer, RequestError> {
        if ask.url.origin != self.session.origin {
            return Ok(self.http.follow(&ask)?);
        }
        let shown = self.session.auth.current();
        authorize(&mut ask, shown.clone());
        let answer = self.http.follow(&ask)?;
        let is_refused = answer.status == StatusCode::UNAUTHORIZED;
        if !is_refused || answer.origin != self.session.origin {
            return Ok(answer);
        }
        let refusal = answer.headers;
        answer.body.discard();
        let renewed = self.session.auth.renew(&mut self.http, shown.as_ref(), &refusal)?;
        authorize(&mut ask, Some(renewed.clone()));
        let answer = self.http.follow(&ask)?;
        // A token that does not do may be for another repository; a password is wrong.
        if answer.status == StatusCode::UNAUTHORIZED && auth::is_password(&renewed) {
            return Err(auth::wrong_password().into());
        }
        Ok(answer)
    }
}

fn authorize(ask: &mut Ask, shown: Option<HeaderValue>) {
    if let Some(shown) = shown {
        ask.headers.insert(header::AUTHORIZATION, shown);
    }
}

/// Whether it may be better later.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Seconds; the form with a date is rare, and as good as none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}
