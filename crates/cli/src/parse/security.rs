//! `--security-opt`, `--storage-opt`, `--sysctl`, capabilities, and namespaces' modes.

use docker_api::json::Tree;
use model::sysctl::is_ipc;
use std::collections::BTreeMap;
use std::str::FromStr;

/// What `--security-opt` flags come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Security {
    /// Options for the server, profiles read in.
    pub(crate) options: Vec<String>,
    /// `systempaths=unconfined`: nothing is masked and nothing made read-only.
    pub(crate) paths: Paths,
}

/// Whether parts of `/proc` and `/sys` are hidden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Paths {
    /// As the server does by default.
    #[default]
    Masked,
    /// Not at all.
    Open,
}

/// Reads all options; `read` gives the content of a file.
pub(crate) fn options(
    flags: &[String],
    read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Security, String> {
    let mut security = Security::default();
    for flag in flags {
        if flag == "systempaths=unconfined" {
            security.paths = Paths::Open;
            continue;
        }
        let (key, value) = match flag.split_once(['=', ':']) {
            Some((key, value)) => (key, Some(value)),
            None => (flag.as_str(), None),
        };
        match (key, value) {
            ("no-new-privileges" | "writable-cgroups", _) => security.options.push(flag.clone()),
            (_, None) => return Err(format!("Invalid --security-opt: \"{flag}\"")),
            ("seccomp", Some(profile)) if !matches!(profile, "unconfined" | "builtin") => {
                security.options.push(format!("seccomp={}", profile_text(profile, read)?));
            }
            _ => security.options.push(flag.clone()),
        }
    }
    Ok(security)
}

/// A profile goes over the wire as its text, without white space.
fn profile_text(
    path: &str,
    read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<String, String> {
    let text = read(path).map_err(|e| format!("opening seccomp profile ({path}) failed: {e}"))?;
    let bad = |e: &dyn std::fmt::Display| {
        format!("compacting json for seccomp profile ({path}) failed: {e}")
    };
    // Only to refuse what is no JSON: the text itself goes on, numbers and order untouched.
    Tree::parse(&text).map_err(|e| bad(&e))?;
    let text = String::from_utf8(text).map_err(|e| bad(&e))?;
    Ok(without_space(&text))
}

fn without_space(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if quoted || !c.is_ascii_whitespace() {
            out.push(c);
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    out
}

/// `--storage-opt key=value`.
pub(crate) fn storage(flags: &[String]) -> Result<BTreeMap<String, String>, String> {
    if flags.iter().all(|flag| flag.contains('=')) {
        Ok(super::env::map(flags))
    } else {
        Err("invalid storage option".to_owned())
    }
}

/// One `--sysctl`; only those that have a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysctl(pub(crate) String);

impl FromStr for Sysctl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed =
            text.split_once('=').is_some_and(|(name, _)| is_ipc(name) || name.starts_with("net."));
        if allowed {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("sysctl '{text}' is not allowed"))
        }
    }
}

/// Capabilities in one spelling: upper case, with `CAP_`; `ALL` stays. What is both added and
/// dropped is added, and duplicates go.
pub(crate) fn capabilities(add: &[String], drop: &[String]) -> (Vec<String>, Vec<String>) {
    let normal = |name: &String| {
        let name = name.trim().to_uppercase();
        if name == "ALL" || name == "RESET" || name.starts_with("CAP_") {
            name
        } else {
            format!("CAP_{name}")
        }
    };
    let mut added: Vec<String> = add.iter().map(normal).collect();
    let mut dropped: Vec<String> = drop.iter().map(normal).collect();
    added.sort();
    added.dedup();
    dropped.sort();
    dropped.dedup();
    dropped.retain(|name| name == "ALL" || !added.contains(name));
    (added, dropped)
}

/// A namespace's mode: the flag, what the error calls it, the value.
pub(crate) fn mode(flag: &str, kind: &str, value: &str) -> Result<String, String> {
    let fits = match flag {
        "--pid" => match value.strip_prefix("container:") {
            Some(name) => !name.is_empty(),
            None => matches!(value, "" | "host"),
        },
        // Those that are refused in the server's words, which say why.
        "--userns" => {
            matches!(value, "" | "host" | "auto" | "nomap" | "keep-id")
                || value.starts_with("keep-id:")
        }
        "--cgroupns" => matches!(value, "" | "host" | "private"),
        _ => matches!(value, "" | "host"),
    };
    if fits { Ok(value.to_owned()) } else { Err(format!("{flag}: invalid {kind} mode")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Result<Vec<u8>, String> {
        match path {
            "p.json" => Ok(b"{ \"a b\": \"c \\\" d\", \"n\": 1.0 }\n".to_vec()),
            "text" => Ok(b"root:x".to_vec()),
            _ => Err(format!("open {path}: no such file or directory")),
        }
    }

    #[test]
    fn security_options() {
        let flags =
            ["no-new-privileges", "label:disable", "seccomp=p.json", "systempaths=unconfined"];
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let got = options(&flags, &read).unwrap();
        assert_eq!(
            got.options,
            ["no-new-privileges", "label:disable", "seccomp={\"a b\":\"c \\\" d\",\"n\":1.0}"]
        );
        assert_eq!(got.paths, Paths::Open);
        for (flag, want) in [
            ("foo", "Invalid --security-opt: \"foo\""),
            (
                "seccomp=/nope",
                "opening seccomp profile (/nope) failed: open /nope: no such file or directory",
            ),
        ] {
            assert_eq!(options(&[flag.to_owned()], &read), Err(want.to_owned()));
        }
        let error = options(&["seccomp=text".to_owned()], &read).unwrap_err();
        assert!(
            error.starts_with("compacting json for seccomp profile (text) failed: "),
            "{error}"
        );
    }

    #[test]
    fn capabilities_have_one_spelling() {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (add, drop) =
            capabilities(&list(&["net_admin", "CAP_SYS_ADMIN"]), &list(&["all", "NET_ADMIN"]));
        assert_eq!((add, drop), (list(&["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]), list(&["ALL"])));
    }

    #[test]
    fn modes_and_sysctls() {
        assert_eq!(mode("--pid", "PID", "container:x"), Ok("container:x".to_owned()));
        assert_eq!(mode("--pid", "PID", "foo"), Err("--pid: invalid PID mode".to_owned()));
        assert_eq!(mode("--uts", "UTS", "foo"), Err("--uts: invalid UTS mode".to_owned()));
        assert_eq!(
            mode("--cgroupns", "CGROUP", "foo"),
            Err("--cgroupns: invalid CGROUP mode".to_owned())
        );
        assert!("net.ipv4.ip_forward=1".parse::<Sysctl>().is_ok());
        assert_eq!("foo=1".parse::<Sysctl>(), Err("sysctl 'foo=1' is not allowed".to_owned()));
    }
}
