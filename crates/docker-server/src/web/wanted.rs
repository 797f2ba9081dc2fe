//! What the page asks the API for. Whoever gets into the page gets no more than that: it makes no containers, so it
//! cannot bind the host's files into one.

use bytes::Bytes;
use http::Method;

/// Whether the page has a use for this operation.
pub(super) fn is_wanted(method: &Method, path: &str) -> bool {
    let Some(segments) = segments(path) else { return false };
    match (method.as_str(), segments.as_slice()) {
        ("GET", ["_ping" | "networks" | "volumes"])
        | ("GET", ["system", "df"])
        | ("GET", ["containers" | "images", "json"])
        | ("GET", ["containers", _, "json"])
        | ("GET", ["images", _, "json" | "history"])
        | ("POST", ["containers", _, "start" | "stop" | "restart" | "exec"])
        | ("GET", ["exec", _, "json"])
        | ("POST", ["exec", _, "resize"]) => true,
        ("DELETE", ["containers", id]) => *id != "prune",
        _ => false,
    }
}

/// What is started for the page's terminal: a shell, as the image's user and with what the container may. The page has no
/// say in it, so nobody in the page makes a privileged one of it.
pub(super) fn shell(method: &Method, path: &str) -> Option<Bytes> {
    let is_exec =
        *method == Method::POST && matches!(segments(path)?.as_slice(), ["containers", _, "exec"]);
    // Whichever is the best one there. No keys part from it, and it ends with its page; Docker knows nothing of the latter.
    let shell = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi";
    is_exec.then(|| {
        let wish = serde_json::json!({
            "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Tty": true,
            "Cmd": ["/bin/sh", "-c", shell], "Env": ["TERM=xterm-256color"],
            "DetachKeys": "ctrl-@,ctrl-@,ctrl-@", "Dhow": {"EndsWithClient": true},
        });
        wish.to_string().into()
    })
}

/// Whether the page follows this.
pub(super) fn is_followed(path: &str) -> bool {
    let Some(segments) = segments(path) else { return false };
    matches!(segments.as_slice(), ["events"] | ["containers", _, "stats" | "logs"])
}

/// Whether it is the id of something, or a name without a slash.
pub(super) fn is_plain(segment: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
    !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(plain)
}

/// The words of a path. Escapes are none: behind this door they are decoded before a path is taken apart, and a
/// slash in one would make another operation of it.
fn segments(path: &str) -> Option<Vec<&str>> {
    let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    segments.iter().all(|segment| is_plain(segment)).then_some(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_page_does_not_do_is_not_passed_on() {
        let wanted = |line: &str| {
            let (method, path) = line.split_once(' ').unwrap();
            is_wanted(&method.parse().unwrap(), path)
        };
        for line in [
            "GET /containers/json",
            "GET /images/sha256:0123/history",
            "GET /containers/my.container-1/json",
            "POST /containers/0123/restart",
            "DELETE /containers/0123",
            "POST /exec/0123/resize",
        ] {
            assert!(wanted(line), "{line}");
        }
        for line in [
            "POST /containers/create",
            "POST /containers/0123/kill",
            "POST /containers/0123/attach",
            "PUT /containers/0123/archive",
            "POST /exec/0123/start",
            "DELETE /containers/a%2Fcheckpoints%2Fb",
            "DELETE /images/0123",
            "GET /containers/0123/logs",
            "GET /containers/0123/export",
            "GET /containers/0123/top",
            "GET /info",
            "GET /volumes/0123",
            "GET /containers/../json",
            "GET /containers//json",
            "POST /dhow/reset",
            "POST /v1.44/containers/0123/start",
            "GET containers/json",
        ] {
            assert!(!wanted(line), "{line}");
        }
    }

    #[test]
    fn what_goes_on_is_followed_and_nothing_else_is() {
        for path in ["/events", "/containers/0123/stats", "/containers/0123/logs"] {
            assert!(is_followed(path), "{path}");
        }
        for path in ["/containers/0123/export", "/containers/a%2Fb/logs", "", "/", "/info"] {
            assert!(!is_followed(path), "{path}");
        }
    }
}
