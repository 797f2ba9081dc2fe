//! Which names and paths of cgroups are taken.
//!
//! A name becomes a path below a hierarchy's root by being appended; nothing else in this crate
//! builds paths from what a caller passes.

/// Why a name or a parent is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cgroup name {name:?}: {problem}")]
pub struct BadName {
    /// What was passed.
    pub name: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// The kernel's limit for one component.
const LONGEST: usize = 255;

/// `<parent>/<name>` without a leading slash. `parent` may be empty, start with a slash and have
/// several components; `name` is one.
pub(crate) fn join(parent: &str, name: &str) -> Result<String, BadName> {
    component(name)?;
    let parent = self::parent(parent)?;
    Ok(if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") })
}

/// A parent without its leading slash.
pub(crate) fn parent(path: &str) -> Result<&str, BadName> {
    let relative = path.strip_prefix('/').unwrap_or(path);
    if !relative.is_empty() {
        relative.split('/').try_for_each(component)?;
    }
    Ok(relative)
}

fn component(name: &str) -> Result<(), BadName> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.len() > LONGEST {
        "is longer than 255 bytes"
    } else if name == "." || name == ".." {
        "is a relative step"
    } else if name.bytes().any(|byte| byte == b'/' || byte.is_ascii_control()) {
        "has a slash or a control character"
    } else if is_interface_file(name) {
        "looks like a file of the kernel's"
    } else {
        return Ok(());
    };
    Err(BadName { name: name.to_owned(), problem })
}

/// The kernel puts its files beside the children; their names start with a controller's.
fn is_interface_file(name: &str) -> bool {
    const PLAIN: [&str; 3] = ["tasks", "notify_on_release", "release_agent"];
    const PREFIXES: [&str; 16] = [
        "blkio", "cgroup", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "io",
        "irq", "memory", "misc", "net_cls", "net_prio", "pids", "rdma",
    ];
    PLAIN.contains(&name)
        || name.split_once('.').is_some_and(|(prefix, _)| PREFIXES.contains(&prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_are_joined() {
        assert_eq!(join("dhow", "abc").unwrap(), "dhow/abc");
        assert_eq!(join("/kubepods/burstable", "pod-1.x").unwrap(), "kubepods/burstable/pod-1.x");
        assert_eq!(join("", "dhow").unwrap(), "dhow");
        assert_eq!(join("/", "dhow").unwrap(), "dhow");
    }

    #[test]
    fn what_leaves_its_place_is_refused() {
        for name in ["", ".", "..", "a/b", "/a", "a\0b", "a\nb", &"x".repeat(256)] {
            assert!(join("dhow", name).is_err(), "{name:?}");
        }
        for parent in ["..", "a/../b", "a//b", "a/", "//a", "./a", "a/."] {
            assert!(join(parent, "name").is_err(), "{parent:?}");
        }
    }

    #[test]
    fn the_kernels_own_files_are_refused() {
        for name in ["cgroup.procs", "tasks", "memory.max", "pids.max"] {
            assert!(join("dhow", name).is_err(), "{name:?}");
        }
        assert!(join("dhow", "memory").is_ok());
    }
}
