//! The wire types of Engine API 1.51, by hand.
//!
//! How a Rust type reads on the wire:
//!
//! | Rust | nothing to say | something |
//! |---|---|---|
//! | `Option<Vec<_>>`, `Option<Map>` | `null` | the value; `Some(empty)` is `[]`, `{}` |
//! | `Vec<_>`, `Map` | `[]`, `{}` | the value |
//! | with `skip_serializing_if` | no field at all | the value |
//!
//! Reading treats `null` and absence alike (see [`crate::json`]). Fields carry the API's own names
//! and meaning; where the API's documentation says all there is to say, they carry no comment.
#![expect(missing_docs, reason = "fields are the Engine API's own and documented there")]

pub mod checkpoints;
pub mod config;
pub mod containers;
pub mod exec;
pub mod firewall;
pub mod host_config;
pub mod images;
pub mod network_settings;
pub mod networks;
pub mod progress;
pub mod registries;
pub mod stats;
pub mod system;
pub mod usage;
pub mod volumes;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Go sorts the keys of a map when it prints it, and so do we.
pub type Map<V> = BTreeMap<String, V>;

/// `{}`: the value type of Go's sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A list of strings that may also be given as one string.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct StrSlice(pub Vec<String>);

impl From<Vec<String>> for StrSlice {
    fn from(list: Vec<String>) -> Self {
        Self(list)
    }
}

impl<'de> Deserialize<'de> for StrSlice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrSliceVisitor)
    }
}

struct StrSliceVisitor;

impl<'de> Visitor<'de> for StrSliceVisitor {
    type Value = StrSlice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_unit<E>(self) -> Result<StrSlice, E> {
        Ok(StrSlice::default())
    }

    fn visit_str<E>(self, v: &str) -> Result<StrSlice, E> {
        Ok(StrSlice(vec![v.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<StrSlice, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            list.push(item);
        }
        Ok(StrSlice(list))
    }
}

/// The body of every error reply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorResponse {
    pub message: String,
}

/// What several create calls answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IdResponse {
    pub id: String,
}

/// A content descriptor of the OCI image specification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Map<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// A platform of the OCI image specification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    pub architecture: String,
    pub os: String,
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// What keeps the layers; clients print it and rarely read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DriverData {
    pub data: Option<Map<String>>,
    pub name: String,
}

/// Go's `omitempty` for numbers and booleans.
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
