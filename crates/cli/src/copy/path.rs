//! Paths as Go's `filepath` and Docker's rules for copies take them apart. Pure.

/// The shortest form: no `.`, no double slash, `..` taken back where it can be. Nothing is `.`.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let is_absolute = path.starts_with('/');
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    match (is_absolute, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}

/// The last component, slashes behind it left out; `.` of nothing.
pub(super) fn base(path: &str) -> &str {
    let plain = path.trim_end_matches('/');
    match (path, plain) {
        ("", _) => ".",
        (_, "") => "/",
        (_, plain) => plain.rsplit('/').next().unwrap_or(plain),
    }
}

/// All but the last component.
pub(super) fn dir(path: &str) -> String {
    clean(path.rfind('/').map_or("", |slash| &path[..=slash]))
}

/// Two paths as one, in its shortest form.
pub(super) fn join(dir: &str, path: &str) -> String {
    clean(&format!("{dir}/{path}"))
}

/// Whether a path ends in a slash.
pub(super) fn ends_in_slash(path: &str) -> bool {
    path.ends_with('/')
}

/// Whether a path means what is in a directory: `a/.`.
pub(super) fn ends_in_dot(path: &str) -> bool {
    base(path) == "."
}

/// Whether a path can only mean a directory.
pub(super) fn asserts_directory(path: &str) -> bool {
    ends_in_slash(path) || ends_in_dot(path)
}

/// Directory and last component, which stays `.` if the path ends so.
pub(super) fn split(path: &str) -> (String, String) {
    let mut clean = clean(path);
    if ends_in_dot(path) {
        clean.push_str("/.");
    }
    (dir(&clean), base(&clean).to_owned())
}

/// A clean path with the end that `typed` had.
pub(super) fn with_end_of(mut clean: String, typed: &str) -> String {
    if !ends_in_dot(&clean) && ends_in_dot(typed) {
        if !ends_in_slash(&clean) {
            clean.push('/');
        }
        clean.push('.');
    }
    if !ends_in_slash(&clean) && ends_in_slash(typed) {
        clean.push('/');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_as_in_go() {
        for (path, want) in [
            ("", "."),
            ("a//b/./c/", "a/b/c"),
            ("a/../../b", "../b"),
            ("/../a", "/a"),
            ("/", "/"),
            ("./", "."),
        ] {
            assert_eq!(clean(path), want, "{path}");
        }
        for (path, want) in [("", "."), ("/", "/"), ("a/", "a"), ("a/.", "."), ("//a//", "a")] {
            assert_eq!(base(path), want, "{path}");
        }
        for (path, want) in [("", "."), ("/a", "/"), ("a/b", "a"), ("a", "."), ("/a/b/", "/a/b")] {
            assert_eq!(dir(path), want, "{path}");
        }
    }

    #[test]
    fn a_split_keeps_what_the_end_means() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(split("/a/b/"), pair("/a", "b"));
        assert_eq!(split("/a/b/."), pair("/a/b", "."));
        assert_eq!(split("/"), pair("/", "/"));
        assert_eq!(split("a"), pair(".", "a"));
        assert_eq!(with_end_of("/a".into(), "x/."), "/a/.");
        assert_eq!(with_end_of("/a".into(), "x/"), "/a/");
        assert_eq!(with_end_of("/".into(), "/"), "/");
    }
}
