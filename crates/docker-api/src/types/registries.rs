//! What registries answer, beside images.

use serde::{Deserialize, Serialize};

/// Somebody was let in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Authenticated {
    pub status: String,
    pub identity_token: String,
}

/// What a registry has under a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DistributionInspect {
    pub descriptor: RegistryDescriptor,
    pub platforms: Vec<RegistryPlatform>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryDescriptor {
    pub media_type: String,
    pub digest: String,
    pub size: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistryPlatform {
    pub architecture: String,
    pub os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// What is no architecture where it stands alone.
const SYSTEMS: [&str; 4] = ["linux", "windows", "darwin", "freebsd"];

/// This machine's, by Go's name of it.
fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

impl RegistryPlatform {
    /// Of `os[/architecture[/variant]]`, or of an architecture alone, which is Linux's. A system alone is this
    /// machine's (containerd's rules).
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        let (first, second, variant) = (part(), part(), part());
        if text.contains('/') {
            return Self { os: first, architecture: second, variant };
        }
        if SYSTEMS.contains(&first.to_ascii_lowercase().as_str()) {
            return Self { os: first, architecture: own_architecture().to_owned(), variant };
        }
        Self { os: "linux".to_owned(), architecture: first, variant }
    }

    /// As queries have it.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// One result of a search.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    pub star_count: i64,
    pub is_official: bool,
    pub name: String,
    /// No registry says so any more.
    pub is_automated: bool,
    pub description: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_read_as_containerd_reads_it() {
        let own = own_architecture();
        for (text, [os, architecture, variant]) in [
            ("linux/arm64/v8", ["linux", "arm64", "v8"]),
            ("windows/amd64", ["windows", "amd64", ""]),
            ("arm64", ["linux", "arm64", ""]),
            ("linux", ["linux", own, ""]),
            // The server says what is wrong.
            ("linux/", ["linux", "", ""]),
        ] {
            let RegistryPlatform { os: o, architecture: a, variant: v } =
                RegistryPlatform::of(text);
            assert_eq!([o, a, v], [os, architecture, variant], "{text}");
        }
    }
}
