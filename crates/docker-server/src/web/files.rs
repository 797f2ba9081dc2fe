//! The files of the page, which are a part of the binary as they lie beside this one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::header::CONTENT_ENCODING;
use ring::digest::{SHA256, digest};

use crate::reply::{self, Reply};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of the page.
#[derive(Debug)]
pub(super) struct File {
    path: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

macro_rules! file {
    ($name:literal, $kind:expr) => {
        file!(concat!("/", $name), $name, $kind)
    };
    ($path:expr, $name:literal, $kind:expr) => {
        File { path: $path, kind: $kind, content: include_bytes!(concat!("files/", $name)) }
    };
}

const FILES: &[File] = &[
    file!("/", "index.html", HTML),
    file!("app.css", CSS),
    file!("api.js", SCRIPT),
    file!("app.js", SCRIPT),
    file!("container.js", SCRIPT),
    file!("containers.js", SCRIPT),
    file!("disk.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("events.js", SCRIPT),
    file!("images.js", SCRIPT),
    file!("logs.js", SCRIPT),
    file!("networks.js", SCRIPT),
    file!("plot.js", SCRIPT),
    file!("terminal.js", SCRIPT),
    file!("text.js", SCRIPT),
    file!("verbs.js", SCRIPT),
    file!("volumes.js", SCRIPT),
    file!("icon.svg", SVG),
    file!("/xterm.css", "xterm/xterm.css", CSS),
    file!("/xterm.js", "xterm/xterm.js.gz", SCRIPT),
];

/// The file at a path.
pub(super) fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

impl File {
    /// What it is known by: another content has another one.
    pub(super) fn tag(&self) -> String {
        let hash = digest(&SHA256, self.content);
        format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]))
    }

    pub(super) fn reply(&self) -> Reply {
        let mut reply = reply::typed(self.kind, self.content);
        if self.content.starts_with(&GZIP) {
            // Every browser unpacks it; whoever asks for it by hand is told what it is.
            reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        reply
    }
}

/// How a file begins that is kept packed: what is not ours, and large.
const GZIP: [u8; 2] = [0x1f, 0x8b];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_a_page_names_is_there() {
        let mut named = 0;
        for file in FILES.iter().filter(|file| [HTML, SCRIPT].contains(&file.kind)) {
            let Ok(text) = std::str::from_utf8(file.content) else { continue };
            let quoted = text.split(['"', '\'']).filter(|word| !word.contains(char::is_whitespace));
            let is_file =
                |word: &&str| [".js", ".css", ".svg"].iter().any(|end| word.ends_with(end));
            for path in quoted.filter(is_file) {
                named += 1;
                let path = path.trim_start_matches('.');
                assert!(find(path).is_some(), "{} names {path}", file.path);
            }
        }
        assert!(named > 20, "{named}");
    }

    #[test]
    fn nothing_of_ours_would_be_kept_from_running_by_the_policy() {
        let html = FILES.iter().find(|file| file.path == "/").unwrap();
        let text = std::str::from_utf8(html.content).unwrap();
        assert!(!text.contains(" style=") && !text.contains(" on") && !text.contains("<style"));
        for file in FILES.iter().filter(|file| file.kind == SCRIPT) {
            let Ok(text) = std::str::from_utf8(file.content) else { continue };
            // What containers say must not become markup.
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!text.contains(word), "{}: {word}", file.path);
            }
        }
    }
}
