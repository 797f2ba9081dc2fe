//! Whether a registry lets somebody in.

use http::{HeaderMap, StatusCode};

use crate::auth::AuthError;
use crate::credentials::Credentials;
use crate::pull::Registry;
use crate::session::{Access, RequestError};
use crate::transport::{Ask, Method, TransportError};

/// Who wants to be let in, and where.
#[derive(Debug, Clone)]
pub struct Login<'l> {
    /// The registry, as the domain of a reference.
    pub domain: &'l str,
    /// Who.
    pub credentials: Credentials,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Name or password are wrong.
    #[error("login attempt to {registry} failed: {reason}")]
    Refused {
        /// The registry.
        registry: String,
        /// The registry's words.
        reason: String,
    },
    /// The registry cannot be asked.
    #[error("login to {registry}: {source}")]
    Request {
        /// The registry.
        registry: String,
        /// Why.
        source: Box<RequestError>,
    },
    /// Before any request.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

impl Registry {
    /// Asks a registry whether it lets somebody in. Blocks.
    ///
    /// # Errors
    /// It does not, or cannot be asked.
    pub fn login(&self, login: Login<'_>) -> Result<(), LoginError> {
        let session = self.session_at((login.domain, ""), &Access::Enter, login.credentials)?;
        let mut caller = session.caller()?;
        let ask = Ask { url: session.top("/v2/"), headers: HeaderMap::new(), method: Method::Get };
        match caller.ask(&ask) {
            Ok(answer) => {
                answer.body.discard();
                Ok(())
            }
            Err(error) => Err(refused(login.domain.to_owned(), error)),
        }
    }
}

fn refused(registry: String, error: RequestError) -> LoginError {
    match error {
        RequestError::Auth(AuthError::Denied(reason) | AuthError::Refused(reason)) => {
            LoginError::Refused { registry, reason }
        }
        RequestError::Status { status, reason }
            if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) =>
        {
            let reason = match reason.text {
                text if text.is_empty() => status.to_string(),
                text => text,
            };
            LoginError::Refused { registry, reason }
        }
        error @ (RequestError::Auth(_)
        | RequestError::Status { .. }
        | RequestError::Transport(_)) => LoginError::Request { registry, source: Box::new(error) },
    }
}
