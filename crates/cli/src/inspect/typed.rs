//! What Docker's structures look like to a template: which objects are maps, and which fields
//! exist although the JSON leaves them out.
//!
//! `{{if .State.Health}}` must work on a container without a health check, while `{{.Foo}}` must
//! be an error: that takes knowledge of the structures, kept here by the names of their fields.

use crate::template::{Elem, List, Map, Method, NilKind, Origin, Struct, Value};
use docker_api::json::Tree;
use std::rc::Rc;

/// Docker's view of a server's JSON.
pub(crate) fn typed(tree: &Tree) -> Value {
    convert("", "", tree)
}

fn convert(parent: &str, key: &str, tree: &Tree) -> Value {
    match tree {
        Tree::Null => Value::Nil(null(parent, key)),
        Tree::Bool(value) => Value::Bool(*value),
        Tree::Number(number) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Tree::String(text) => Value::str(text),
        Tree::Array(items) => {
            let elem = match items.first() {
                Some(Tree::Object(_)) => Elem::Struct,
                Some(Tree::Array(_)) => Elem::Slice,
                Some(Tree::Null | Tree::Bool(_) | Tree::Number(_)) => Elem::Any,
                Some(Tree::String(_)) | None => Elem::Str,
            };
            let items = items.iter().map(|item| convert(parent, key, item)).collect();
            Value::List(Rc::new(List { items, elem }))
        }
        Tree::Object(pairs) => match map_of(parent, key) {
            Some(elem) => {
                let entry = |(name, value): &(String, Tree)| {
                    (name.clone(), convert(key, entry_name(key), value))
                };
                Value::Map(Rc::new(Map { entries: pairs.iter().map(entry).collect(), elem }))
            }
            None => structure(key, pairs),
        },
    }
}

fn structure(key: &str, pairs: &[(String, Tree)]) -> Value {
    let field = |(name, value): &(String, Tree)| (name.clone(), convert(key, name, value));
    let fields: Vec<(String, Value)> = pairs.iter().map(field).collect();
    let left_out = |(name, _): &&(&str, Zero)| !pairs.iter().any(|(given, _)| given == name);
    let omitted =
        omitted(key).iter().filter(left_out).map(|(name, zero)| (*name, zero.value())).collect();
    Value::Struct(Rc::new(Struct {
        type_name: "struct",
        fields,
        omitted,
        method: Method::None,
        origin: Origin::Server,
    }))
}

/// Entries of a map have no name of their own; those of some maps are structures with fields to
/// fill in.
fn entry_name(map: &str) -> &'static str {
    if map == "Networks" { "Endpoint" } else { "-" }
}

fn map_of(parent: &str, key: &str) -> Option<Elem> {
    Some(match key {
        "Config" if parent == "LogConfig" => Elem::Str,
        "Labels" | "Sysctls" | "Tmpfs" | "StorageOpt" | "Annotations" | "annotations"
        | "DriverOpts" | "Options" | "Data" | "AuxiliaryAddresses" | "Details" => Elem::Str,
        "PortBindings" | "Ports" => Elem::Slice,
        "Volumes" | "ExposedPorts" | "Networks" | "Containers" | "Runtimes" | "IndexConfigs" => {
            Elem::Struct
        }
        _ => return None,
    })
}

fn null(parent: &str, key: &str) -> NilKind {
    match key {
        "Health"
        | "MemorySwappiness"
        | "OomKillDisable"
        | "PidsLimit"
        | "Init"
        | "IPAMConfig"
        | "StopTimeout"
        | "Healthcheck"
        | "UsageData"
        | "Descriptor"
        | "GraphDriver"
        | "ImageManifestDescriptor"
        | "SizeRw"
        | "SizeRootFs"
        | "FirewallBackend" => NilKind::Pointer,
        // The configuration of an image is a structure, that of a log driver a map.
        "Config" if parent != "LogConfig" => NilKind::Pointer,
        _ if map_of(parent, key).is_some() => NilKind::Map,
        _ => NilKind::Slice,
    }
}

/// The value of a field that was left out.
#[derive(Clone, Copy)]
enum Zero {
    Text,
    No,
    Int,
    Nil(NilKind),
}

impl Zero {
    fn value(self) -> Value {
        match self {
            Self::Text => Value::str(""),
            Self::No => Value::Bool(false),
            Self::Int => Value::Int(0),
            Self::Nil(kind) => Value::Nil(kind),
        }
    }
}

const POINTER: Zero = Zero::Nil(NilKind::Pointer);
const MAP: Zero = Zero::Nil(NilKind::Map);
const SLICE: Zero = Zero::Nil(NilKind::Slice);

/// Fields that Docker's encoder leaves out when they are empty, by the name of their structure;
/// those of the outermost ones together.
fn omitted(key: &str) -> &'static [(&'static str, Zero)] {
    match key {
        "" => &[
            ("SizeRw", POINTER),
            ("SizeRootFs", POINTER),
            ("ImageManifestDescriptor", POINTER),
            ("GraphDriver", POINTER),
        ],
        "State" => &[("Health", POINTER)],
        "Client" => {
            &[("GitCommit", Zero::Text), ("GoVersion", Zero::Text), ("BuildTime", Zero::Text)]
        }
        "Server" => &[("Experimental", Zero::No), ("BuildTime", Zero::Text)],
        "Config" => &[
            ("User", Zero::Text),
            ("ExposedPorts", MAP),
            ("Env", SLICE),
            ("Entrypoint", SLICE),
            ("Cmd", SLICE),
            ("Volumes", MAP),
            ("WorkingDir", Zero::Text),
            ("Labels", MAP),
            ("StopSignal", Zero::Text),
            ("StopTimeout", POINTER),
            ("ArgsEscaped", Zero::No),
            ("Healthcheck", POINTER),
            ("NetworkDisabled", Zero::No),
            ("MacAddress", Zero::Text),
            ("OnBuild", SLICE),
            ("Shell", SLICE),
        ],
        "HostConfig" => &[
            ("Annotations", MAP),
            ("StorageOpt", MAP),
            ("Tmpfs", MAP),
            ("Sysctls", MAP),
            ("Runtime", Zero::Text),
            ("Mounts", SLICE),
            ("Init", POINTER),
            ("KernelMemory", Zero::Int),
            ("KernelMemoryTCP", Zero::Int),
        ],
        "Mounts" => &[
            ("Type", Zero::Text),
            ("Name", Zero::Text),
            ("Driver", Zero::Text),
            ("ReadOnly", Zero::No),
            ("BindOptions", POINTER),
            ("VolumeOptions", POINTER),
            ("TmpfsOptions", POINTER),
        ],
        "RootFS" => &[("Layers", SLICE)],
        "IPAMConfig" => {
            &[("IPv4Address", Zero::Text), ("IPv6Address", Zero::Text), ("LinkLocalIPs", SLICE)]
        }
        _ => &[],
    }
}
