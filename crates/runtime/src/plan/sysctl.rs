//! Kernel parameters: which ones belong to a container, and where they are.

use std::collections::HashMap;

use model::sysctl::is_ipc;
use sys::process::Namespaces;

use super::PlanError;
use super::namespaces::Choice;
use super::text::c_string;
use crate::step::Step;

/// Steps for all of them, in the order of their names.
pub(super) fn steps(
    sysctls: &HashMap<String, String>,
    namespaces: &Choice,
) -> Result<Vec<Step>, PlanError> {
    let mut sorted: Vec<_> = sysctls.iter().collect();
    sorted.sort();
    let step = |(name, value): (&String, &String)| {
        let path = path(name).ok_or_else(|| PlanError::HostSysctl(name.clone()))?;
        require_own(name, &path, namespaces)?;
        let file = format!("sys/{path}");
        Ok(Step::Sysctl(c_string("linux.sysctl", &file)?, c_string("linux.sysctl", value)?))
    };
    sorted.into_iter().map(step).collect()
}

/// The path below `/proc/sys`. Either separator may be used; the one that comes first is it, and
/// the other one then stands for a dot in a name, as `net/ipv4/conf/eth0.1` does.
fn path(name: &str) -> Option<String> {
    let slashed = match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'.' => name
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_owned(),
    };
    let names_only = slashed.split('/').all(|part| !["", ".", ".."].contains(&part));
    names_only.then_some(slashed)
}

fn require_own(name: &str, path: &str, namespaces: &Choice) -> Result<(), PlanError> {
    // No parameter of IPC has a dot in a part of its name.
    let of_ipc = !path.contains('.') && is_ipc(&path.replace('/', "."));
    let (kind, namespace) = if of_ipc {
        (Namespaces::IPC, "ipc")
    } else if path.starts_with("net/") {
        (Namespaces::NET, "network")
    } else if path == "kernel/domainname" {
        (Namespaces::UTS, "uts")
    } else {
        return Err(PlanError::HostSysctl(name.to_owned()));
    };
    if namespaces.owns(kind) {
        return Ok(());
    }
    Err(PlanError::NeedsNamespace { setting: format!("sysctl {name:?}"), namespace })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(name: &str, own: Namespaces) -> Result<String, String> {
        let namespaces = Choice { new: own, ..Choice::default() };
        let sysctls = HashMap::from([(name.to_owned(), "1".to_owned())]);
        let steps = steps(&sysctls, &namespaces).map_err(|error| error.to_string())?;
        Ok(steps[0].to_string())
    }

    #[test]
    fn names_have_either_separator() {
        let set = Ok("set sys/net/ipv4/conf/eth0.1/forwarding".to_owned());
        assert_eq!(planned("net.ipv4.conf.eth0/1.forwarding", Namespaces::NET), set);
        assert_eq!(planned("net/ipv4/conf/eth0.1/forwarding", Namespaces::NET), set);
    }

    #[test]
    fn what_would_change_the_host_is_refused() {
        for name in
            ["kernel.core_pattern", "net/../kernel/core_pattern", "vm.swappiness", "", "net"]
        {
            let error = planned(name, Namespaces::NET | Namespaces::IPC).unwrap_err();
            assert!(error.ends_with("so it would change the host"), "{name}: {error}");
        }
        assert_eq!(
            planned("net.core.somaxconn", Namespaces::IPC).unwrap_err(),
            r#"sysctl "net.core.somaxconn" needs a network namespace of the container's own"#
        );
        assert!(planned("kernel.msgmax", Namespaces::NET).is_err());
    }
}
