//! Docker's rules of `cp`: what is made where, by what there is. Pure.

use super::path;
use crate::Renaming;

/// What is at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum There {
    Nothing,
    Directory,
    /// A file, a symlink, anything else.
    Other,
}

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// As it is found.
    pub(super) path: String,
    pub(super) is_dir: bool,
    /// What it was called by whoever asked, where that is another name.
    pub(super) called: Option<String>,
}

/// Where it is copied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) path: String,
    pub(super) there: There,
}

/// Where an archive is unpacked, and under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) dir: String,
    pub(super) renaming: Renaming,
}

/// Why a copy makes no sense; Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Objection {
    #[error("cannot copy directory")]
    DirectoryOntoFile,
    #[error("no such directory")]
    NoDirectory,
}

/// Decides where a copy goes.
///
/// # Errors
/// See [`Objection`].
pub(super) fn plan(source: &Source, to: &Destination) -> Result<Plan, Objection> {
    let (_, from) = path::split(&source.path);
    let (parent, base) = path::split(&to.path);
    match (to.there, source.is_dir) {
        (There::Directory, _) => {
            let called = source.called.clone().unwrap_or_else(|| from.clone());
            Ok(Plan { dir: to.path.clone(), renaming: Renaming { from, to: called } })
        }
        (There::Other, true) => Err(Objection::DirectoryOntoFile),
        (There::Nothing, false) if path::asserts_directory(&to.path) => Err(Objection::NoDirectory),
        (There::Nothing | There::Other, _) => {
            Ok(Plan { dir: parent, renaming: Renaming { from, to: base } })
        }
    }
}

/// A symlink's end in place of the symlink: with the end of the path that led to it, and under the
/// name that it was asked for by.
pub(super) fn behind_link(typed: &str, target: String) -> (String, Option<String>) {
    let resolved = path::with_end_of(target, typed);
    let called = path::base(typed);
    let is_other = called != path::base(&resolved);
    let called = is_other.then(|| called.to_owned());
    (resolved, called)
}

/// Where the symlink at a path of a container leads.
pub(super) fn link_target(link: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    path::join(&path::split(link).0, target)
}

/// One argument of `cp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A path of this machine; `-` is an archive on a standard stream.
    Here(String),
    /// A path of a container.
    Container {
        /// Its name or id.
        name: String,
        /// The path in it.
        path: String,
    },
}

impl Place {
    /// Reads an argument: a colon parts container and path, but not in paths that begin with a
    /// slash or a dot.
    pub(crate) fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((name, path)) if !text.starts_with('/') && !name.starts_with('.') => {
                Self::Container { name: name.to_owned(), path: path.to_owned() }
            }
            Some(_) | None => Self::Here(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(source: &str, is_dir: bool, to: &str, there: There) -> String {
        let source = Source { path: source.to_owned(), is_dir, called: None };
        match plan(&source, &Destination { path: to.to_owned(), there }) {
            Ok(Plan { dir, renaming: Renaming { from, to } }) => format!("{from} as {to} in {dir}"),
            Err(objection) => objection.to_string(),
        }
    }

    #[test]
    fn what_is_there_decides() {
        use There::{Directory, Nothing, Other};
        for (source, is_dir, to, there, want) in [
            ("/a/f", false, "/t/new", Nothing, "f as new in /t"),
            ("/a/f", false, "/t/new/", Nothing, "no such directory"),
            ("/a/f", false, "/t/x", Other, "f as x in /t"),
            ("/a/f", false, "/t/d/", Directory, "f as f in /t/d/"),
            ("/a/d/", true, "/t/new/", Nothing, "d as new in /t"),
            ("/a/d", true, "/t/x", Other, "cannot copy directory"),
            ("/a/d/.", true, "/t/new", Nothing, ". as new in /t"),
            ("/a/d/.", true, "/t/d", Directory, ". as . in /t/d"),
            ("/", true, "/t/d", Directory, "/ as / in /t/d"),
        ] {
            assert_eq!(planned(source, is_dir, to, there), want, "{source} to {to}");
        }
    }

    #[test]
    fn a_link_is_followed_under_its_own_name() {
        let followed = |typed: &str, target: &str| behind_link(typed, target.to_owned());
        assert_eq!(followed("/a/link", "/b"), ("/b".into(), Some("link".into())));
        assert_eq!(followed("/a/link/.", "/b"), ("/b/.".into(), None));
        assert_eq!(followed("/a/link/", "/b"), ("/b/".into(), Some("link".into())));
        assert_eq!(link_target("/a/link", "../b"), "/b");
        assert_eq!(link_target("/a/link", "/c"), "/c");
    }

    #[test]
    fn arguments_name_containers_by_a_colon() {
        let container =
            |name: &str, path: &str| Place::Container { name: name.into(), path: path.into() };
        assert_eq!(Place::parse("c:/x"), container("c", "/x"));
        assert_eq!(Place::parse("c:a:b"), container("c", "a:b"));
        assert_eq!(Place::parse(":x"), container("", "x"));
        for here in ["-", "x", "/a:b", "./a:b", "../a:b"] {
            assert_eq!(Place::parse(here), Place::Here(here.to_owned()));
        }
    }
}
