//! Names of units: which scope a container has, in which slice, and where systemd keeps its cgroup.

/// The longest name of a unit.
const LONGEST: usize = 255;

/// A scope, and the slice that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    slice: String,
    unit: String,
}

/// Why a name is none of a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadScope {
    /// It has not three parts. The words are runc's.
    #[error(r#"expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got {0:?} instead"#)]
    Parts(String),
    /// Not what systemd takes for a slice.
    #[error(
        "{0:?} is no slice of systemd: it is called name.slice, with a dash between a slice and one within it"
    )]
    Slice(String),
    /// Not what systemd takes for a scope.
    #[error("{0:?} is no name of a unit of systemd")]
    Unit(String),
}

impl Scope {
    /// Takes `prefix-name.scope` in a slice.
    ///
    /// # Errors
    /// One of them is no name of systemd's.
    pub fn new(slice: &str, prefix: &str, name: &str) -> Result<Self, BadScope> {
        Self::named(slice, format!("{prefix}-{name}.scope"))
    }

    /// Takes a scope in a slice.
    ///
    /// # Errors
    /// One of them is no name of systemd's.
    pub fn named(slice: &str, unit: String) -> Result<Self, BadScope> {
        expand(slice)?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\".contains(c);
        let is_scope = unit.ends_with(".scope") && unit.len() <= LONGEST;
        if !is_scope || !unit.chars().all(is_plain) {
            return Err(BadScope::Unit(unit));
        }
        Ok(Self { slice: slice.to_owned(), unit })
    }

    /// Reads `linux.cgroupsPath` as runc does: `slice:prefix:name`, where the slice may be left out.
    ///
    /// # Errors
    /// It has not three parts, or one of them is no name of systemd's.
    pub fn parse(text: &str, default_slice: &str) -> Result<Self, BadScope> {
        let parts: Vec<&str> = text.split(':').collect();
        let [slice, prefix, name] = parts[..] else { return Err(BadScope::Parts(text.to_owned())) };
        Self::new(if slice.is_empty() { default_slice } else { slice }, prefix, name)
    }

    /// The slice: `system.slice`.
    #[must_use]
    pub fn slice(&self) -> &str {
        &self.slice
    }

    /// The scope: `dhow-abc.scope`.
    #[must_use]
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Where the slice's cgroup is below that of systemd itself: `a.slice/a-b.slice`.
    #[must_use]
    pub fn parent(&self) -> String {
        expand(&self.slice).unwrap_or_default()
    }
}

/// systemd.slice(5): `a-b.slice` is within `a.slice`, and `-.slice` is the root.
fn expand(slice: &str) -> Result<String, BadScope> {
    let bad = || BadScope::Slice(slice.to_owned());
    let name = slice.strip_suffix(".slice").ok_or_else(bad)?;
    if name == "-" {
        return Ok(String::new());
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ":_.\\".contains(c);
    let parts: Vec<&str> = name.split('-').collect();
    let is_good = |part: &&str| !part.is_empty() && part.chars().all(is_plain);
    if slice.len() > LONGEST || !parts.iter().all(is_good) {
        return Err(bad());
    }
    let levels = (1..=parts.len()).map(|count| format!("{}.slice", parts[..count].join("-")));
    Ok(levels.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<String, String> {
        let scope = Scope::parse(text, "system.slice").map_err(|error| error.to_string())?;
        Ok(format!("{}/{}", scope.parent(), scope.unit()))
    }

    #[test]
    fn places() {
        for (text, expected) in [
            ("system.slice:docker:abc", "system.slice/docker-abc.scope"),
            (":runc:1", "system.slice/runc-1.scope"),
            ("a-b-c.slice:x:y", "a.slice/a-b.slice/a-b-c.slice/x-y.scope"),
            ("-.slice:x:y", "/x-y.scope"),
            ("machine.slice:libpod:f00", "machine.slice/libpod-f00.scope"),
        ] {
            assert_eq!(place(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "/docker/abc",
            "a:b",
            "a.slice:b:c:d",
            "a:b:c",
            ".slice:b:c",
            "a--b.slice:x:y",
            "-a.slice:x:y",
            "a-.slice:x:y",
            "../a.slice:x:y",
            "a/b.slice:x:y",
            "a.slice:b:c/d",
            "a.slice:b:c d",
            "a.slice:b:c@",
        ] {
            assert!(place(text).is_err(), "{text}");
        }
        assert!(place(&format!("a.slice:b:{}", "x".repeat(255))).is_err());
    }
}
