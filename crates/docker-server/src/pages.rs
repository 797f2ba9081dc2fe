//! Requests of pages that browsers show, at addresses where everybody is let in.
//!
//! A page of anybody's can have its visitor's browser ask every address that its machine reaches. The browser keeps
//! most answers from it; not those of a server that is called as the page's own, which whoever owns the name may
//! have lead anywhere at any time (DNS rebinding), and what a request does it does without its answer. Other clients
//! send the name by which they were told to reach the server, whatever that is: so a name counts only where a
//! browser has left its traces, which pages cannot leave out (Fetch, sections 3.1 and 4.5).

use std::collections::BTreeSet;
use std::net::IpAddr;

use http::header::{ACCEPT_LANGUAGE, COOKIE, HOST, HeaderName, ORIGIN, REFERER};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::error::HttpError;

/// What a browser sends and Docker's clients do not.
const TRACES: [HeaderName; 6] = [
    ORIGIN,
    REFERER,
    ACCEPT_LANGUAGE,
    COOKIE,
    HeaderName::from_static("sec-fetch-mode"),
    HeaderName::from_static("upgrade-insecure-requests"),
];

/// Whose page asks, where the address is one that a browser trusts, as it does its own machine's (Fetch Metadata).
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Which pages may ask.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// By the hosts that they are of, and the names of this machine beside those that nobody else can have.
    trusted: BTreeSet<String>,
}

impl Pages {
    /// Those of this machine, which calls itself `own`, and those of `trusted` hosts.
    pub fn of(own: &str, trusted: impl IntoIterator<Item = String>) -> Self {
        let all = trusted.into_iter().chain([own.to_owned()]);
        Self { trusted: all.map(|host| plain(&host)).filter(|host| !host.is_empty()).collect() }
    }

    /// # Errors
    /// 403: a page asks that may not.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), HttpError> {
        if !TRACES.iter().any(|name| headers.contains_key(name)) {
            return Ok(());
        }
        let refused = |what: String, host: &str| {
            HttpError::new(
                StatusCode::FORBIDDEN,
                format!("{what}: if it may, say so with dhow serve --trusted-host {host}"),
            )
        };
        let places: Vec<String> = headers.get_all(HOST).iter().map(text).collect();
        let places = if places.is_empty() { vec![String::new()] } else { places };
        for place in &places {
            let host = host_of(place);
            if !self.is_known(&host) {
                let what = format!(
                    "a page in a browser may not ask here by the name {host:?}, which need not be this machine's"
                );
                return Err(refused(what, &host));
            }
        }
        // What a page merely loads from elsewhere (a picture) has no `Origin`, and is done as well.
        let site = headers.get(SITE).map(text).unwrap_or_default();
        if matches!(&*site, "cross-site" | "same-site") && !headers.contains_key(ORIGIN) {
            let from = headers.get(REFERER).map(text).unwrap_or_default();
            let host = host_of(
                from.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default(),
            );
            if !self.trusted.contains(&host) {
                return Err(refused("a page of another server may not ask here".to_owned(), &host));
            }
        }
        for origin in headers.get_all(ORIGIN).iter().map(text) {
            let from = origin.split_once("://").map_or("", |(_, place)| place);
            let is_own = places.iter().all(|place| place.eq_ignore_ascii_case(from));
            let host = host_of(from);
            if !(is_own || self.trusted.contains(&host)) {
                return Err(refused(format!("a page of {origin} may not ask here"), &host));
            }
        }
        Ok(())
    }

    /// An address is nobody's name. Any other name, with a dot or without, is led where the network that a machine
    /// happens to be in pleases.
    fn is_known(&self, host: &str) -> bool {
        let is_local = host == "localhost" || host.ends_with(".localhost");
        let is_address = host.parse::<IpAddr>().is_ok();
        is_local || is_address || self.trusted.contains(host)
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// The host of `host[:port]`.
fn host_of(place: &str) -> String {
    let place = place.trim();
    if let Some((address, _)) = place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return plain(address);
    }
    let is_port = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let host = match place.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        Some(_) | None => place,
    };
    plain(host)
}

/// As hosts are compared: in any case, and with the dot of the root or without it.
fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fields: &[(&'static str, &str)]) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let pages = Pages::of("build.corp.example", ["Ui.example.com".to_owned()]);
        pages.check(&headers).map_err(|no| no.message)
    }

    #[test]
    fn a_client_may_use_any_name_and_a_page_may_not() {
        for host in ["build.example.com:2375", "docker", "127.0.0.1:2375", "", "a:b:c"] {
            assert_eq!(
                asked(&[("host", host), ("user-agent", "Docker-Client/28")]),
                Ok(()),
                "{host}"
            );
        }
        assert_eq!(asked(&[]), Ok(()));
        let own = [
            "127.0.0.1:2375",
            "[::1]:2375",
            "localhost",
            "a.localhost:80",
            "BUILD.corp.example.:2375",
            "ui.example.com",
        ];
        for (name, value) in [
            ("accept-language", ""),
            ("cookie", "a=b"),
            ("referer", "http://evil.example/"),
            ("sec-fetch-mode", "cors"),
        ] {
            for host in own {
                assert_eq!(asked(&[("host", host), (name, value)]), Ok(()), "{host}");
            }
            for host in [
                "docker:2375",
                "evil.example",
                "evil.example:2375",
                "localhost.evil.example",
                "",
                "x:y:1",
                "1.2.3",
            ] {
                let refused = asked(&[("host", host), (name, value)]).unwrap_err();
                assert!(refused.starts_with("a page in a browser may not ask here"), "{refused}");
            }
        }
        let refused = asked(&[("host", "evil.example:1"), ("cookie", "")]).unwrap_err();
        assert!(
            refused.ends_with("say so with dhow serve --trusted-host evil.example"),
            "{refused}"
        );
        let two = [("host", "localhost"), ("host", "evil.example"), ("cookie", "")];
        assert!(asked(&two).is_err());
    }

    #[test]
    fn what_a_page_of_another_server_loads_is_not_done() {
        let loads = |site: &str, more: &[(&'static str, &str)]| {
            let first =
                [("host", "127.0.0.1:2375"), ("accept-language", "en"), ("sec-fetch-site", site)];
            asked(&[&first[..], more].concat())
        };
        assert_eq!(loads("none", &[]), Ok(()), "somebody typed it");
        assert_eq!(loads("same-origin", &[]), Ok(()));
        for site in ["cross-site", "same-site"] {
            assert!(loads(site, &[]).is_err());
            assert!(loads(site, &[("referer", "http://evil.example/a")]).is_err());
            assert_eq!(loads(site, &[("referer", "http://ui.example.com:9000/a")]), Ok(()));
        }
    }

    #[test]
    fn a_page_asks_its_own_server_or_is_trusted() {
        let from = |origin: &str| asked(&[("host", "127.0.0.1:2375"), ("origin", origin)]);
        for origin in
            ["http://127.0.0.1:2375", "http://ui.example.com:9000", "https://Ui.Example.com"]
        {
            assert_eq!(from(origin), Ok(()), "{origin}");
        }
        for origin in
            ["null", "http://127.0.0.1:80", "http://evil.example", "http://localhost:2375", ""]
        {
            let refused = from(origin).unwrap_err();
            assert!(
                refused.starts_with(&format!("a page of {origin} may not ask here")),
                "{refused}"
            );
        }
    }
}
