//! `-v`, as far as a client has a say: which source is relative to the working directory.

use docker_api::types::{Empty, Map};
use std::path::{Component, Path, PathBuf};

/// What `-v` flags ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Volumes {
    /// With a source.
    pub(crate) binds: Vec<String>,
    /// Without: anonymous volumes, by their place in the container.
    pub(crate) anonymous: Map<Empty>,
}

/// Sorts `-v` flags out; `cwd` is where `./x` is.
pub(crate) fn volumes(flags: &[String], cwd: &Path) -> Result<Volumes, String> {
    let mut volumes = Volumes::default();
    for spec in flags {
        if spec.is_empty() {
            return Err("invalid empty volume spec".to_owned());
        }
        let mut parts: Vec<&str> = spec.split(':').collect();
        if parts.len() == 1 {
            volumes.anonymous.insert(spec.clone(), Empty {});
            continue;
        }
        if parts.iter().any(|part| part.is_empty()) {
            return Err(format!("invalid spec: {spec}: empty section between colons"));
        }
        let source = absolute(parts[0], cwd);
        parts[0] = &source;
        volumes.binds.push(parts.join(":"));
    }
    Ok(volumes)
}

/// A source that starts with a dot is a path; anything else that is no path names a volume.
pub(crate) fn absolute(source: &str, cwd: &Path) -> String {
    if !source.starts_with('.') {
        return source.to_owned();
    }
    let mut path = PathBuf::from("/");
    for part in cwd.join(source).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_and_anonymous_ones() {
        let flags = ["/a:/b", "vol:/c:ro", "/anon", "./rel:/d", ".:/w", "../x:/y", "~/x:/e"];
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let got = volumes(&flags, Path::new("/cwd/sub")).unwrap();
        assert_eq!(
            got.binds,
            ["/a:/b", "vol:/c:ro", "/cwd/sub/rel:/d", "/cwd/sub:/w", "/cwd/x:/y", "~/x:/e"]
        );
        assert_eq!(got.anonymous.keys().collect::<Vec<_>>(), ["/anon"]);
    }

    #[test]
    fn empty_parts_are_refused() {
        for (flag, want) in [
            ("", "invalid empty volume spec"),
            (":/a", "invalid spec: :/a: empty section between colons"),
            ("/a:", "invalid spec: /a:: empty section between colons"),
        ] {
            assert_eq!(volumes(&[flag.to_owned()], Path::new("/")), Err(want.to_owned()));
        }
    }
}
