//! The serde side of reading: a deserializer over [`Tree`] that knows the field names of the type
//! it fills (serde hands them to `deserialize_struct`) and can therefore match them leniently.
//!
//! `#[serde(flatten)]` hides those names, so types that are read through here do not use it.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::JsonError;
use super::tree::{Tree, join};

/// What went wrong, with the path as far as it is known; callers prepend their part on the way up.
#[derive(Debug)]
pub(super) struct Failure {
    path: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Shape(String),
    Duplicate,
}

impl Failure {
    fn under(mut self, part: &str) -> Self {
        self.path = join(part, &self.path);
        self
    }

    pub(super) fn into_error(self) -> JsonError {
        match self.kind {
            Kind::Shape(what) => JsonError::Shape { path: self.path, what },
            Kind::Duplicate => JsonError::Duplicate(self.path),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: String::new(), kind: Kind::Shape(message.to_string()) }
    }
}

/// The names of the objects and arrays around a value, innermost first; lives on the call stack.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    outer: Option<&'p Place<'p>>,
    name: &'p str,
}

impl Place<'_> {
    fn path(&self) -> String {
        match self.outer {
            Some(outer) => join(&outer.path(), self.name),
            None => self.name.to_owned(),
        }
    }
}

pub(super) struct Reader<'a> {
    tree: Tree,
    unknown: &'a mut Vec<String>,
    place: Option<&'a Place<'a>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        tree: Tree,
        unknown: &'a mut Vec<String>,
        place: Option<&'a Place<'a>>,
    ) -> Self {
        Self { tree, unknown, place }
    }

    fn object<'de, V: Visitor<'de>>(
        self,
        pairs: Vec<(String, Tree)>,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let Self { unknown, place, .. } = self;
        let pairs = match fields {
            Some(fields) => known(pairs, fields, unknown, place)?,
            None => pairs,
        };
        visitor.visit_map(Object { pairs: pairs.into_iter(), value: None, unknown, place })
    }
}

/// Keeps the pairs that a field wants, under the field's own name, and drops `null`s.
fn known(
    pairs: Vec<(String, Tree)>,
    fields: &'static [&'static str],
    unknown: &mut Vec<String>,
    place: Option<&Place<'_>>,
) -> Result<Vec<(String, Tree)>, Failure> {
    let mut kept: Vec<(String, Tree)> = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let exact = fields.iter().find(|field| **field == key);
        let field = exact.or_else(|| fields.iter().find(|f| f.eq_ignore_ascii_case(&key)));
        let Some(field) = field else {
            unknown.push(Place { outer: place, name: &key }.path());
            continue;
        };
        if kept.iter().any(|(name, _)| name == field) {
            return Err(Failure { path: key, kind: Kind::Duplicate });
        }
        // A `null` stays in the list, so that a second occurrence is still noticed.
        kept.push(((*field).to_owned(), value));
    }
    kept.retain(|(_, value)| *value != Tree::Null);
    Ok(kept)
}

/// Go leaves the zero value where `null` meets a scalar; these are those values.
macro_rules! scalar {
    ($($method:ident => $visit:ident($zero:expr)),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            match self.tree {
                Tree::Null => visitor.$visit($zero),
                Tree::Bool(_) | Tree::Number(_) | Tree::String(_) | Tree::Array(_)
                | Tree::Object(_) => self.deserialize_any(visitor),
            }
        }
    )*};
}

/// Integers: as above, and a number with a fraction or beyond 64 bits is named as it was written.
macro_rules! integer {
    ($($method:ident => $visit:ident),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            match &self.tree {
                Tree::Null => visitor.$visit(0),
                Tree::Number(n) if n.is_f64() => {
                    Err(de::Error::custom(format_args!("{n} is no 64-bit integer")))
                }
                Tree::Bool(_) | Tree::Number(_) | Tree::String(_) | Tree::Array(_)
                | Tree::Object(_) => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Failure> {
        match std::mem::replace(&mut self.tree, Tree::Null) {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(v) => visitor.visit_bool(v),
            Tree::Number(v) => match (v.as_u64(), v.as_i64(), v.as_f64()) {
                (Some(v), _, _) => visitor.visit_u64(v),
                (_, Some(v), _) => visitor.visit_i64(v),
                (_, _, v) => visitor.visit_f64(v.unwrap_or(f64::NAN)),
            },
            Tree::String(v) => visitor.visit_string(v),
            Tree::Array(items) => visitor.visit_seq(Array {
                items: items.into_iter().enumerate(),
                unknown: self.unknown,
                place: self.place,
            }),
            Tree::Object(pairs) => self.object(pairs, None, visitor),
        }
    }

    scalar! {
        deserialize_bool => visit_bool(false),
        deserialize_f32 => visit_f32(0.0),
        deserialize_f64 => visit_f64(0.0),
        deserialize_str => visit_str(""),
        deserialize_string => visit_str(""),
    }

    integer! {
        deserialize_i8 => visit_i8,
        deserialize_i16 => visit_i16,
        deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64,
        deserialize_u8 => visit_u8,
        deserialize_u16 => visit_u16,
        deserialize_u32 => visit_u32,
        deserialize_u64 => visit_u64,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.tree == Tree::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Failure> {
        if self.tree == Tree::Null {
            self.tree = Tree::Array(Vec::new());
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Failure> {
        if self.tree == Tree::Null {
            self.tree = Tree::Object(Vec::new());
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match std::mem::replace(&mut self.tree, Tree::Null) {
            Tree::Null => self.object(Vec::new(), Some(fields), visitor),
            Tree::Object(pairs) => self.object(pairs, Some(fields), visitor),
            // serde would fill a struct from an array in the order of its fields; Go does not.
            Tree::Array(_) => Err(de::Error::invalid_type(de::Unexpected::Seq, &visitor)),
            other @ (Tree::Bool(_) | Tree::Number(_) | Tree::String(_)) => {
                self.tree = other;
                self.deserialize_any(visitor)
            }
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match self.tree {
            Tree::String(v) => visitor.visit_enum(v.into_deserializer()),
            Tree::Null => visitor.visit_enum("".into_deserializer()),
            other @ (Tree::Bool(_) | Tree::Number(_) | Tree::Array(_) | Tree::Object(_)) => {
                Err(de::Error::custom(format_args!("expected a string, got {other:?}")))
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

struct Array<'a> {
    items: std::iter::Enumerate<std::vec::IntoIter<Tree>>,
    unknown: &'a mut Vec<String>,
    place: Option<&'a Place<'a>>,
}

impl<'de> SeqAccess<'de> for Array<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        let Some((at, item)) = self.items.next() else { return Ok(None) };
        let name = format!("[{at}]");
        let place = Place { outer: self.place, name: &name };
        let value = seed.deserialize(Reader::new(item, self.unknown, Some(&place)));
        value.map(Some).map_err(|e| e.under(&name))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Object<'a> {
    pairs: std::vec::IntoIter<(String, Tree)>,
    value: Option<(String, Tree)>,
    unknown: &'a mut Vec<String>,
    place: Option<&'a Place<'a>>,
}

impl<'de> MapAccess<'de> for Object<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        let Some((key, value)) = self.pairs.next() else { return Ok(None) };
        let read = seed.deserialize(StrDeserializer::<Failure>::new(&key));
        let read = read.map_err(|e| e.under(&key))?;
        self.value = Some((key, value));
        Ok(Some(read))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let Some((key, value)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let place = Place { outer: self.place, name: &key };
        let read = seed.deserialize(Reader::new(value, self.unknown, Some(&place)));
        read.map_err(|e| e.under(&key))
    }
}
