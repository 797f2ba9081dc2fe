//! Authorisation: what a registry demands, and what it gets.
//!
//! Credentials go to the registry that they were given for and to the token service that it names,
//! in plain HTTP only if the registry itself is spoken to so. The cache lives for one pull or push,
//! whose requests all have the same scopes.

mod challenge;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::answer::{self, Reason};
use crate::credentials::{Credentials, Secret};
use crate::transport::{Ask, Http, Method, TransportError};
use crate::url::{BadUrl, Origin, Scheme, Url};
use challenge::Challenge;

/// Largest answer of a token service, in bytes.
const TOKEN_MAX: u64 = 1 << 20;
/// How long a token is good for if its service does not say.
const DEFAULT_LIFE: Duration = Duration::from_mins(1);
/// A token is not used in the last moments of its life.
const MARGIN: Duration = Duration::from_secs(5);

/// What a query may hold as it is.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Why there is no authorisation.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Nothing to show, and it is asked for.
    #[error("{0}")]
    Denied(String),
    /// What was shown does not do.
    #[error("{0}")]
    Refused(String),
    /// Neither Bearer nor Basic.
    #[error("it asks for an authorisation that dhow does not know")]
    UnknownScheme,
    /// The address of the token service.
    #[error("its token service has a bad address: {0}")]
    BadRealm(#[from] BadUrl),
    /// A token service without TLS.
    #[error("its token service {0} has no TLS, so that it gets no request")]
    PlainRealm(Origin),
    /// The token service failed.
    #[error("token service {service} answered {status}{}", answer::suffix(.reason))]
    Service {
        /// The service.
        service: Origin,
        /// Its answer.
        status: StatusCode,
        /// Its words.
        reason: Reason,
    },
    /// Not a token.
    #[error("token service {0} gave no token")]
    NoToken(Origin),
    /// On the way to the token service.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// The authorisation of one pull or push, shared by its threads.
#[derive(Debug)]
pub(crate) struct Auth {
    credentials: Credentials,
    registry: Origin,
    /// As a token service is asked for them.
    scopes: Vec<String>,
    granted: Mutex<Option<Granted>>,
}

/// What may be shown to the registry.
#[derive(Debug, Clone)]
struct Granted {
    // Marked sensitive, so that its `Debug` is silent.
    header: HeaderValue,
    until: Option<Instant>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Auth {
    pub(crate) fn new(credentials: Credentials, registry: Origin, scopes: Vec<String>) -> Self {
        let granted = match &credentials {
            Credentials::RegistryToken(token) => Granted::new("Bearer", token, None),
            Credentials::Anonymous | Credentials::Basic { .. } | Credentials::IdentityToken(_) => {
                None
            }
        };
        Self { credentials, registry, scopes, granted: Mutex::new(granted) }
    }

    /// What is known to do.
    pub(crate) fn current(&self) -> Option<HeaderValue> {
        let now = Instant::now();
        let granted = self.granted();
        let valid = granted.as_ref().filter(|granted| granted.until.is_none_or(|end| now < end));
        valid.map(|granted| granted.header.clone())
    }

    /// What will do, after the registry has refused `shown`. The first of several threads asks, the
    /// others wait for what it gets.
    pub(crate) fn renew(
        &self,
        http: &mut Http<'_>,
        shown: Option<&HeaderValue>,
        refusal: &HeaderMap,
    ) -> Result<HeaderValue, AuthError> {
        let mut granted = self.granted();
        if let Some(newer) = granted.as_ref().filter(|granted| Some(&granted.header) != shown) {
            return Ok(newer.header.clone());
        }
        let fresh = match challenge::choose(refusal).ok_or(AuthError::UnknownScheme)? {
            Challenge::Bearer { realm, service } => self.token(http, &realm, service.as_deref())?,
            Challenge::Basic => self.basic(shown)?,
        };
        let header = fresh.header.clone();
        *granted = Some(fresh);
        Ok(header)
    }

    fn granted(&self) -> MutexGuard<'_, Option<Granted>> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn basic(&self, shown: Option<&HeaderValue>) -> Result<Granted, AuthError> {
        let denied = |text: &str| AuthError::Denied(text.to_owned());
        match &self.credentials {
            // The password does not get better by being shown twice.
            Credentials::Basic { .. } if shown.is_some() => Err(wrong_password()),
            Credentials::Basic { user, password } => {
                Granted::new("Basic", &encode(user, password), None)
                    .ok_or_else(|| denied("no basic auth credentials"))
            }
            Credentials::RegistryToken(_) => Err(wrong_token()),
            Credentials::Anonymous | Credentials::IdentityToken(_) => {
                Err(denied("no basic auth credentials"))
            }
        }
    }

    fn token(
        &self,
        http: &mut Http<'_>,
        realm: &str,
        service: Option<&str>,
    ) -> Result<Granted, AuthError> {
        let ask = self.ask_token(realm, service)?;
        let answer = http.follow(&ask)?;
        let (status, origin) = (answer.status, answer.origin.clone());
        let limit = http.net().limits.document;
        if status != StatusCode::OK {
            let reason = answer::reason(answer, limit);
            return Err(match (status, &self.credentials) {
                (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Credentials::Anonymous) => {
                    AuthError::Denied(reason.text)
                }
                (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) if reason.text.is_empty() => {
                    wrong_password()
                }
                (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                    AuthError::Refused(reason.text)
                }
                _ => AuthError::Service { service: origin, status, reason },
            });
        }
        let bytes = answer.body.document(TOKEN_MAX, limit)?;
        parse_token(&bytes).ok_or(AuthError::NoToken(origin))
    }

    fn ask_token(&self, realm: &str, service: Option<&str>) -> Result<Ask, AuthError> {
        let realm = Url::parse(realm)?;
        if (realm.origin.scheme, self.registry.scheme) == (Scheme::Http, Scheme::Https) {
            return Err(AuthError::PlainRealm(realm.origin));
        }
        let mut fields: Vec<_> =
            self.scopes.iter().map(|scope| ("scope", scope.as_str())).collect();
        fields.extend(service.map(|service| ("service", service)));
        let mut headers = HeaderMap::new();
        let (url, method) = match &self.credentials {
            Credentials::RegistryToken(_) => return Err(wrong_token()),
            Credentials::Anonymous => (realm.with_query(&form(&fields)), Method::Get),
            Credentials::Basic { user, password } => {
                fields.push(("account", user));
                let granted = Granted::new("Basic", &encode(user, password), None);
                headers.extend(granted.map(|granted| (header::AUTHORIZATION, granted.header)));
                (realm.with_query(&form(&fields)), Method::Get)
            }
            Credentials::IdentityToken(token) => {
                // A form has one field for all.
                let scope = self.scopes.join(" ");
                fields.retain(|(name, _)| *name != "scope");
                fields.extend([
                    ("scope", scope.as_str()),
                    ("grant_type", "refresh_token"),
                    ("client_id", "dhow"),
                    ("refresh_token", token.reveal()),
                ]);
                let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.insert(header::CONTENT_TYPE, kind);
                (realm, Method::Post(Bytes::from(form(&fields))))
            }
        };
        Ok(Ask { url, headers, method })
    }
}

/// Whether a header shows name and password.
pub(crate) fn is_password(header: &HeaderValue) -> bool {
    header.as_bytes().starts_with(b"Basic ")
}

pub(crate) fn wrong_password() -> AuthError {
    AuthError::Refused("unauthorized: incorrect username or password".to_owned())
}

fn wrong_token() -> AuthError {
    AuthError::Refused("unauthorized: token refused".to_owned())
}

impl Granted {
    fn new(scheme: &str, secret: &Secret, until: Option<Instant>) -> Option<Self> {
        let mut header = HeaderValue::from_str(&format!("{scheme} {}", secret.reveal())).ok()?;
        header.set_sensitive(true);
        Some(Self { header, until })
    }
}

fn encode(user: &str, password: &Secret) -> Secret {
    Secret::new(STANDARD.encode(format!("{user}:{}", password.reveal())))
}

fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text| utf8_percent_encode(text, PLAIN).to_string();
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    fields.join("&")
}

fn parse_token(bytes: &[u8]) -> Option<Granted> {
    let Token { token, access_token, expires_in } = serde_json::from_slice(bytes).ok()?;
    let token = token.or(access_token).filter(|token| !token.is_empty())?;
    let life = expires_in.filter(|life| *life > 0).map_or(DEFAULT_LIFE, Duration::from_secs);
    let until = Instant::now().checked_add(life.saturating_sub(MARGIN));
    Granted::new("Bearer", &Secret::new(token), until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_under_both_of_its_names_and_not_printed() {
        for text in [r#"{"token":"hunter2","expires_in":300}"#, r#"{"access_token":"hunter2"}"#] {
            let granted = parse_token(text.as_bytes()).unwrap();
            assert_eq!(granted.header.to_str().unwrap(), "Bearer hunter2");
            assert!(!format!("{granted:?}").contains("hunter2"));
        }
        for bad in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"token":1}"#] {
            assert!(parse_token(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_form_says_what_it_was_given() {
        let fields = [("scope", "repository:a/b:pull"), ("service", "a b&c=d")];
        assert_eq!(form(&fields), "scope=repository%3Aa/b%3Apull&service=a%20b%26c%3Dd");
    }

    #[test]
    fn a_token_service_is_asked_for_each_scope() {
        let origin = Url::parse("https://r/").unwrap().origin;
        let scopes = ["repository:a:pull,push", "repository:b:pull"].map(str::to_owned).to_vec();
        let asked = |credentials| {
            let auth = Auth::new(credentials, origin.clone(), scopes.clone());
            let ask = auth.ask_token("https://r/token", Some("s")).unwrap();
            let Method::Post(form) = ask.method else { return ask.url.target };
            String::from_utf8(form.to_vec()).unwrap()
        };
        assert_eq!(
            asked(Credentials::Anonymous),
            "/token?scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull&service=s"
        );
        let form = asked(Credentials::IdentityToken(Secret::new("t")));
        let scope = "scope=repository%3Aa%3Apull%2Cpush%20repository%3Ab%3Apull";
        assert!(form.contains(scope) && form.matches("scope=").count() == 1, "{form}");
    }

    #[test]
    fn a_registry_with_tls_names_no_token_service_without() {
        let https = Url::parse("https://r/").unwrap().origin;
        let auth = Auth::new(Credentials::Anonymous, https, Vec::new());
        let refused = auth.ask_token("http://r/token", None).err().unwrap();
        assert!(matches!(refused, AuthError::PlainRealm(_)), "{refused}");
        assert!(auth.ask_token("https://elsewhere/token", None).is_ok());
    }
}
