//! Following redirects. Authorisation stays with the origin that it was given for (I18).

use http::{StatusCode, header};

use super::{Answer, Ask, Http, Method, TransportError};
use crate::url::{Scheme, Url};

impl Http<'_> {
    /// Sends a request, and goes where the answers point to.
    pub(crate) fn follow(&mut self, ask: &Ask) -> Result<Answer, TransportError> {
        let mut ask = ask.clone();
        for _ in 0..=self.net().limits.redirects {
            let answer = self.send(&ask)?;
            match (location(&ask, &answer)?, &ask.method) {
                (Some(next), Method::Get | Method::Head) => {
                    answer.body.discard();
                    go(&mut ask, next);
                }
                // A form carries a secret, which is meant for one host, and what is pushed is too.
                (
                    Some(_),
                    Method::Post(_) | Method::Put(_) | Method::Upload(_) | Method::Delete,
                )
                | (None, _) => return Ok(answer),
            }
        }
        Err(TransportError::Redirects(ask.url.origin))
    }
}

/// Points a request at `next`, and takes from it what another host must not see.
fn go(ask: &mut Ask, next: Url) {
    if next.origin != ask.url.origin {
        ask.headers.remove(header::AUTHORIZATION);
    }
    ask.url = next;
}

fn location(ask: &Ask, answer: &Answer) -> Result<Option<Url>, TransportError> {
    let is_redirect = matches!(
        answer.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = answer.headers.get(header::LOCATION).filter(|_| is_redirect);
    let Some(location) = location else { return Ok(None) };
    let from = ask.url.origin.clone();
    let next = match ask.url.join(location.to_str().unwrap_or_default()) {
        Ok(next) => next,
        Err(source) => return Err(TransportError::Location { from, source }),
    };
    match (from.scheme, next.origin.scheme) {
        (Scheme::Https, Scheme::Http) => Err(TransportError::Downgrade { from, to: next.origin }),
        (Scheme::Http, _) | (Scheme::Https, Scheme::Https) => Ok(Some(next)),
    }
}
