//! Who is let in: a page of this dashboard's own, opened by somebody who has the token.
//!
//! The token is given once, for a cookie and a key. Browsers send a cookie by themselves, and to every port of a host;
//! the key is kept where only pages of one origin read it, and goes with each request. It takes both.

use std::io;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, StatusCode};
use ring::hmac;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::HttpError;

/// Bytes of a token.
const TOKEN: usize = 32;

/// In which a page sends its key.
const KEY: HeaderName = HeaderName::from_static("x-dhow-key");

/// The protocol of our websockets; the key is another one that a page offers, since it cannot set headers there.
pub(super) const PROTOCOL: &str = "dhow";
const KEY_PROTOCOL: &str = "dhow-key.";

/// What the cookie and the key are made from, with the token.
const COOKIE_OF: &[u8] = b"dhow dashboard cookie";
const KEY_OF: &[u8] = b"dhow dashboard key";

/// What whoever opens the dashboard has to know: 32 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; TOKEN]);

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// The kernel has no randomness.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; TOKEN];
        // Up to 256 bytes come whole (getrandom(2)).
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        Ok(Self(bytes))
    }

    /// Reads one; none if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// As it stands in an address.
    #[must_use]
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Who is let in at one address.
#[derive(Debug)]
pub(super) struct Gate {
    /// What a browser may call this server: the address at which it listens. `localhost` would be several of them, and
    /// at another one somebody else may listen.
    hosts: Vec<String>,
    /// What is no name of it, but means it when somebody types it.
    localhost: String,
    /// With the port in it: browsers keep cookies by host alone.
    cookie: String,
    secret: hmac::Key,
}

impl Gate {
    pub(super) fn new(at: SocketAddr, token: &Token) -> Self {
        let port = at.port();
        let mut hosts = vec![at.to_string()];
        let mut localhost = format!("localhost:{port}");
        // Browsers leave out the port that is usual.
        if port == 80 {
            hosts.extend(hosts[0].strip_suffix(":80").map(str::to_owned));
            localhost.truncate("localhost".len());
        }
        Self {
            hosts,
            localhost,
            cookie: format!("dhow-{port}"),
            secret: hmac::Key::new(hmac::HMAC_SHA256, &token.0),
        }
    }

    /// Where somebody who has typed `localhost` shall go. What stands behind the `#` of an address goes along.
    pub(super) fn moved(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let is_typed =
            only(headers, &HOST) == Some(&self.localhost) && !headers.contains_key(ORIGIN);
        is_typed.then(|| HeaderValue::try_from(format!("http://{}/", self.hosts[0])).ok())?
    }

    /// Whether a request is meant for this server and comes from no other's page. One that changes nothing need not
    /// say where it is from: browsers do not when somebody opens an address.
    pub(super) fn check_site(&self, headers: &HeaderMap, is_safe: bool) -> Result<(), HttpError> {
        let host = only(headers, &HOST);
        // A name of somebody's that was made to mean this machine is not one of these (DNS rebinding).
        let Some(host) = host.filter(|host| self.hosts.iter().any(|own| own == host)) else {
            return Err(HttpError::new(
                StatusCode::MISDIRECTED_REQUEST,
                format!("the dashboard is at http://{} alone", self.hosts[0]),
            ));
        };
        let is_from_here =
            only(headers, &ORIGIN).is_some_and(|from| from.strip_prefix("http://") == Some(host));
        if is_from_here || (is_safe && !headers.contains_key(ORIGIN)) {
            return Ok(());
        }
        Err(HttpError::new(StatusCode::FORBIDDEN, "only the dashboard's own page may ask for this"))
    }

    /// A cookie and a key for whoever has the token.
    pub(super) fn sign_in(&self, given: &[u8]) -> Result<(HeaderValue, String), HttpError> {
        let given = std::str::from_utf8(given).ok().and_then(|text| Token::parse(text.trim()));
        // What is signed with a token is only right with the same one. This takes the same time whichever it is.
        let fits = given.is_some_and(|given| {
            let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &given.0), COOKIE_OF);
            hmac::verify(&self.secret, COOKIE_OF, signed.as_ref()).is_ok()
        });
        if !fits {
            return Err(HttpError::new(
                StatusCode::FORBIDDEN,
                "this is not the token of this dashboard",
            ));
        }
        let cookie =
            format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie, self.part(COOKIE_OF));
        let cookie =
            HeaderValue::try_from(cookie).map_err(|e| HttpError::internal(e.to_string()))?;
        Ok((cookie, self.part(KEY_OF)))
    }

    /// Whether a request comes from somebody who has signed in.
    pub(super) fn check_session(&self, headers: &HeaderMap) -> Result<(), HttpError> {
        self.check_parts(headers, only(headers, &KEY))
    }

    /// The same for a websocket.
    pub(super) fn check_live(&self, headers: &HeaderMap) -> Result<(), HttpError> {
        let offered = only(headers, &SEC_WEBSOCKET_PROTOCOL).unwrap_or_default();
        let mut offered = offered.split(',').map(str::trim);
        let key = offered.find_map(|protocol| protocol.strip_prefix(KEY_PROTOCOL));
        self.check_parts(headers, key)
    }

    fn check_parts(&self, headers: &HeaderMap, key: Option<&str>) -> Result<(), HttpError> {
        let has_cookie =
            cookies(headers, &self.cookie).any(|value| self.is_part(COOKIE_OF, Some(value)));
        if has_cookie && self.is_part(KEY_OF, key) {
            return Ok(());
        }
        Err(HttpError::new(StatusCode::UNAUTHORIZED, "nobody has signed in here"))
    }

    fn part(&self, of: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.secret, of))
    }

    /// It takes the same time wherever it is wrong.
    fn is_part(&self, of: &[u8], given: Option<&str>) -> bool {
        let given = given.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        given.is_some_and(|given| hmac::verify(&self.secret, of, &given).is_ok())
    }
}

/// A header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The values of the cookies of this name.
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|one| one.trim().split_once('='));
    pairs.filter(move |(called, _)| *called == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> (Gate, Token) {
        let token = Token([7; TOKEN]);
        (Gate::new("127.0.0.1:2374".parse().unwrap(), &token), token)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_token_is_read_as_it_is_written_and_differs_each_time() {
        let token = Token::random().unwrap();
        assert_eq!(Token::parse(&token.text()), Some(token.clone()));
        assert_ne!(Token::random().unwrap(), token);
        for text in ["", "AAAA", &format!("{}AA", token.text())] {
            assert_eq!(Token::parse(text), None, "{text}");
        }
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn only_the_address_at_which_it_listens_means_this_server() {
        let (gate, _) = gate();
        gate.check_site(&headers(&[("host", "127.0.0.1:2374")]), true).unwrap();
        for host in [
            "evil.example:2374",
            "127.0.0.1",
            "localhost:80",
            "127.0.0.1:2374.evil",
            "localhost:2374",
            "[::1]:2374",
            "",
        ] {
            let refused = gate.check_site(&headers(&[("host", host)]), true).unwrap_err();
            assert_eq!(refused.status, 421, "{host}");
        }
        gate.check_site(&HeaderMap::new(), true).unwrap_err();
        let mut twice = headers(&[("host", "evil.example")]);
        twice.append(HOST, HeaderValue::from_static("127.0.0.1:2374"));
        gate.check_site(&twice, true).unwrap_err();
        let usual = Gate::new("[::1]:80".parse().unwrap(), &Token([7; TOKEN]));
        for host in ["[::1]", "[::1]:80"] {
            usual.check_site(&headers(&[("host", host)]), true).unwrap();
        }
    }

    #[test]
    fn who_types_localhost_is_sent_to_the_address() {
        let (gate, _) = gate();
        let to = |pairs| gate.moved(&headers(pairs)).map(|to| to.to_str().unwrap().to_owned());
        let place = "http://127.0.0.1:2374/".to_owned();
        assert_eq!(to(&[("host", "localhost:2374")]), Some(place));
        assert_eq!(to(&[("host", "127.0.0.1:2374")]), None);
        assert_eq!(to(&[("host", "evil.example:2374")]), None);
        assert_eq!(to(&[("host", "localhost:2374"), ("origin", "http://localhost:2374")]), None);
    }

    #[test]
    fn pages_of_others_ask_for_nothing() {
        let (gate, _) = gate();
        let from = |origin: Option<&str>, is_safe| {
            let mut all = vec![("host", "127.0.0.1:2374")];
            all.extend(origin.map(|origin| ("origin", origin)));
            gate.check_site(&headers(&all), is_safe).map_err(|error| error.status.as_u16())
        };
        assert_eq!(from(None, true), Ok(()));
        assert_eq!(from(None, false), Err(403), "what changes something says where it is from");
        for is_safe in [true, false] {
            assert_eq!(from(Some("http://127.0.0.1:2374"), is_safe), Ok(()));
            for origin in [
                "http://127.0.0.1:9999",
                "https://127.0.0.1:2374",
                "http://localhost:2374",
                "null",
                "",
            ] {
                assert_eq!(from(Some(origin), is_safe), Err(403), "{origin}");
            }
        }
    }

    #[test]
    fn a_session_is_the_cookie_and_the_key_of_this_token() {
        let (gate, token) = gate();
        let (cookie, key) = gate.sign_in(token.text().as_bytes()).unwrap();
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap();
        let both = format!("other=1; {cookie}");
        gate.check_session(&headers(&[("cookie", &both), ("x-dhow-key", &key)])).unwrap();
        let offered = format!("dhow, dhow-key.{key}");
        gate.check_live(&headers(&[("cookie", cookie), ("sec-websocket-protocol", &offered)]))
            .unwrap();
        let value = cookie.split_once('=').unwrap().1;
        for short in [
            &[("cookie", cookie)][..],
            &[("x-dhow-key", key.as_str())],
            &[("cookie", cookie), ("x-dhow-key", value)],
            &[("cookie", cookie), ("x-dhow-key", "")],
            &[("cookie", "dhow-2374="), ("x-dhow-key", &key)],
            &[],
        ] {
            assert_eq!(gate.check_session(&headers(short)).unwrap_err().status, 401, "{short:?}");
        }
        let other = Gate::new("127.0.0.1:2374".parse().unwrap(), &Token([8; TOKEN]));
        let session = headers(&[("cookie", cookie), ("x-dhow-key", &key)]);
        other.check_session(&session).unwrap_err();
        for wrong in [Token([8; TOKEN]).text(), String::new(), key] {
            assert_eq!(gate.sign_in(wrong.as_bytes()).unwrap_err().status, 403);
        }
    }
}
