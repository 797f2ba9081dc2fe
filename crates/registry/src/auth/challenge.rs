//! `WWW-Authenticate`, as RFC 9110, section 11.6.1, has it. Pure.

use http::{HeaderMap, header};

/// How a registry wants to be shown who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token of the service at `realm`.
    Bearer { realm: String, service: Option<String> },
    /// Name and password.
    Basic,
}

/// The best of the challenges in an answer's head.
pub(super) fn choose(headers: &HeaderMap) -> Option<Challenge> {
    let texts = headers.get_all(header::WWW_AUTHENTICATE).iter();
    let all: Vec<Challenge> =
        texts.filter_map(|value| value.to_str().ok()).flat_map(parse).collect();
    let bearer = all.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or(all.first()).cloned()
}

/// One scheme of a header, with its parameters.
struct Offer {
    scheme: String,
    parameters: Vec<(String, String)>,
}

fn parse(text: &str) -> Vec<Challenge> {
    offers(text).into_iter().filter_map(Offer::understand).collect()
}

impl Offer {
    fn understand(self) -> Option<Challenge> {
        let find = |name: &str| {
            let found = self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        match self.scheme.to_ascii_lowercase().as_str() {
            "bearer" => Some(Challenge::Bearer { realm: find("realm")?, service: find("service") }),
            "basic" => Some(Challenge::Basic),
            _ => None,
        }
    }
}

/// Commas separate both challenges and parameters: a word without `=` begins a challenge.
fn offers(text: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return offers;
        }
        match (after.strip_prefix('='), offers.last_mut()) {
            (Some(value), Some(offer)) => {
                let (value, after) = self::value(value);
                offer.parameters.push((word.to_owned(), value));
                rest = after;
            }
            (Some(_), None) => return offers,
            (None, _) => {
                offers.push(Offer { scheme: word.to_owned(), parameters: Vec::new() });
                rest = after;
            }
        }
    }
}

/// A token or a quoted string, and what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            plain => value.push(plain),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) }
    }

    #[test]
    fn challenges_are_read() {
        for (text, expected) in [
            (
                r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull,push""#,
                vec![bearer("https://a/t", Some("s"))],
            ),
            ("bearer realm=https://a/t", vec![bearer("https://a/t", None)]),
            (r#"Bearer realm="a\"b, c=d""#, vec![bearer("a\"b, c=d", None)]),
            (
                r#"Basic realm="x", Bearer service="s" , realm="r""#,
                vec![Challenge::Basic, bearer("r", Some("s"))],
            ),
            (r#"Negotiate, Basic realm="x""#, vec![Challenge::Basic]),
            (r#"Bearer service="s""#, vec![]),
            (r#"Bearer realm="open"#, vec![bearer("open", None)]),
            ("=", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn bearer_is_preferred() {
        let mut headers = HeaderMap::new();
        headers.append(header::WWW_AUTHENTICATE, "Basic realm=x".parse().unwrap());
        assert_eq!(choose(&headers), Some(Challenge::Basic));
        headers.append(header::WWW_AUTHENTICATE, "Bearer realm=x".parse().unwrap());
        assert_eq!(choose(&headers), Some(bearer("x", None)));
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic_or_run_for_ever(text in "[ -~é\t]{0,200}") {
            parse(&text);
        }
    }
}
