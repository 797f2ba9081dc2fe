//! The data that templates run over: Go's reflected values, as far as Docker's commands need.
//!
//! Go tells a map from a struct, and several kinds of nothing from each other; `docker inspect`
//! and its users depend on the difference, so it is kept here.

use std::collections::BTreeMap;
use std::rc::Rc;

/// A value in a template.
#[derive(Clone, Debug)]
pub enum Value {
    /// What Go calls an invalid value: the result of looking up a key that a map lacks.
    Missing,
    /// An interface that holds nothing: `null` in untyped JSON.
    Null,
    /// A typed nothing: a null pointer, slice or map of a known structure.
    Nil(NilKind),
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// A string.
    Str(Rc<str>),
    /// A number of untyped JSON: text until somebody computes with it.
    Number(Rc<str>),
    /// A slice.
    List(Rc<List>),
    /// A map, in the order of its keys.
    Map(Rc<Map>),
    /// A structure: its fields are known, and a wrong one is an error.
    Struct(Rc<Struct>),
}

/// Which typed nothing a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NilKind {
    /// Prints `<nil>`; has no fields.
    Pointer,
    /// Prints `[]`; is empty to range over.
    Slice,
    /// Prints `map[]`; has no keys.
    Map,
}

/// What a list or a map holds, where that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elem {
    /// `interface {}`
    Any,
    /// `string`
    Str,
    /// Lists of something.
    Slice,
    /// Structures or pointers to them.
    Struct,
}

/// A slice.
#[derive(Debug)]
pub struct List {
    /// Its items.
    pub items: Vec<Value>,
    /// What they are.
    pub elem: Elem,
}

/// A map with string keys.
#[derive(Debug)]
pub struct Map {
    /// Its entries.
    pub entries: BTreeMap<String, Value>,
    /// What they are; a missing key reads as the zero of that.
    pub elem: Elem,
}

/// A structure.
#[derive(Debug)]
pub struct Struct {
    /// The Go name that messages show.
    pub type_name: &'static str,
    /// Fields in their order.
    pub fields: Vec<(String, Value)>,
    /// Fields that exist but were left out of the JSON, as Go leaves out empty ones.
    pub omitted: Vec<(&'static str, Value)>,
    /// Its method.
    pub method: Method,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a structure comes from: Docker writes the two as JSON in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A server's reply.
    Server,
    /// A row of a list: its JSON escapes `<`, `>` and `&`, as Go does by default.
    Row,
}

/// The method that a structure has.
#[derive(Debug)]
pub enum Method {
    /// None.
    None,
    /// `.Label "key"`: the row's labels.
    Label(BTreeMap<String, String>),
    /// `.Label "key"` of a header row: the label's own name is its header.
    LabelHeader,
    /// `.ExtraAttributes nil`: what log options add to each line of a container's log.
    ExtraAttributes(BTreeMap<String, String>),
}

impl Value {
    /// A string.
    #[must_use]
    pub fn str(text: impl AsRef<str>) -> Self {
        Self::Str(Rc::from(text.as_ref()))
    }

    /// A list of strings.
    #[must_use]
    pub fn strings<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> Self {
        let items = items.into_iter().map(Self::str).collect();
        Self::List(Rc::new(List { items, elem: Elem::Str }))
    }

    /// The Go type, for messages and `%T`.
    #[must_use]
    pub fn type_name(&self) -> String {
        match self {
            Self::Missing => "<nil>".to_owned(),
            Self::Null => "interface {}".to_owned(),
            Self::Nil(NilKind::Pointer) => "*struct".to_owned(),
            Self::Nil(NilKind::Slice) => "[]string".to_owned(),
            Self::Nil(NilKind::Map) => "map[string]string".to_owned(),
            Self::Bool(_) => "bool".to_owned(),
            Self::Int(_) => "int".to_owned(),
            Self::Float(_) => "float64".to_owned(),
            Self::Str(_) => "string".to_owned(),
            Self::Number(_) => "json.Number".to_owned(),
            Self::List(list) => format!("[]{}", list.elem.name()),
            Self::Map(map) => format!("map[string]{}", map.elem.name()),
            Self::Struct(record) => record.type_name.to_owned(),
        }
    }

    /// Go's notion of truth: not the empty value of its kind.
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Self::Missing | Self::Null | Self::Nil(_) => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) | Self::Number(text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
            Self::Struct(_) => true,
        }
    }

    /// The text of a string or of an untyped number.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Str(text) | Self::Number(text) => Some(text),
            _ => None,
        }
    }

    /// Length, for what has one.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Str(text) | Self::Number(text) => Some(text.len()),
            Self::List(list) => Some(list.items.len()),
            Self::Map(map) => Some(map.entries.len()),
            Self::Nil(NilKind::Slice | NilKind::Map) => Some(0),
            _ => None,
        }
    }
}

impl Elem {
    const fn name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Str => "string",
            Self::Slice => "[]struct",
            Self::Struct => "struct",
        }
    }

    /// The zero value of the element.
    pub(super) fn zero(self) -> Value {
        match self {
            Self::Any => Value::Null,
            Self::Str => Value::str(""),
            Self::Slice => Value::Nil(NilKind::Slice),
            Self::Struct => Value::Nil(NilKind::Pointer),
        }
    }
}

/// How Docker's JSON spells a field whose name in Go, which templates use, is another.
fn in_json(name: &str) -> Option<&'static str> {
    Some(match name {
        "APIVersion" => "ApiVersion",
        "CPUCfsPeriod" => "CpuCfsPeriod",
        "CPUCfsQuota" => "CpuCfsQuota",
        "CPUCount" => "CpuCount",
        "CPUPercent" => "CpuPercent",
        "CPUPeriod" => "CpuPeriod",
        "CPUQuota" => "CpuQuota",
        "CPURealtimePeriod" => "CpuRealtimePeriod",
        "CPURealtimeRuntime" => "CpuRealtimeRuntime",
        "CPUShares" => "CpuShares",
        "DNS" => "Dns",
        "DNSOptions" => "DnsOptions",
        "DNSSearch" => "DnsSearch",
        "HTTPProxy" => "HttpProxy",
        "HTTPSProxy" => "HttpsProxy",
        "HostIP" => "HostIp",
        "ID" => "Id",
        "NanoCPUs" => "NanoCpus",
        _ => return None,
    })
}

impl Struct {
    /// A field by its name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.spelt(name).or_else(|| match self.origin {
            Origin::Server => self.spelt(in_json(name)?),
            Origin::Row => None,
        })
    }

    fn spelt(&self, name: &str) -> Option<&Value> {
        let given = self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        given.or_else(|| self.omitted.iter().find(|(key, _)| *key == name).map(|(_, value)| value))
    }

    /// All values, given or not.
    pub(super) fn values(&self) -> impl Iterator<Item = (&str, &Value)> {
        let given = self.fields.iter().map(|(key, value)| (key.as_str(), value));
        given.chain(self.omitted.iter().map(|(key, value)| (*key, value)))
    }
}

impl Method {
    /// Calls `.Label`; `None` if there is no such method.
    pub(super) fn label(&self, name: &str) -> Option<String> {
        match self {
            Self::None | Self::ExtraAttributes(_) => None,
            Self::Label(labels) => Some(labels.get(name).cloned().unwrap_or_default()),
            Self::LabelHeader => {
                let last = name.rsplit('.').next().unwrap_or(name);
                Some(last.replace(['-', '_'], " "))
            }
        }
    }
}
