//! Go's text/template, the language of `--format` and of the tags of logs.
//!
//! Owns the language, its built-in functions, Docker's additions to them, and Go's way of
//! printing values. It does not know what the data mean: rows of lists and inspected objects come
//! from the command line, what a log's tag is made of from the server.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the language's rules name a few kinds of value and treat all others alike"
)]

mod ast;
mod compare;
mod eval;
mod exec;
mod fields;
mod funcs;
mod json;
mod lex;
pub mod literal;
mod number;
mod parse;
mod print;
mod printf;
mod text;
mod value;

pub use json::write_string;
pub use value::{Elem, List, Map, Method, NilKind, Origin, Struct, Value};

/// `%.Ng` of a float, for sizes.
pub fn general(value: f64, digits: usize) -> String {
    number::general_with(value, digits)
}

/// The text is no template; the message is Go's, place included.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub String);

/// The template cannot be run over this data; the message is Go's, place included.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExecError(pub String);

/// What a key that a map lacks is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingKey {
    /// `<no value>`.
    NoValue,
    /// An error.
    Error,
}

/// Which functions the template is run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Functions {
    /// The real ones.
    Data,
    /// Those that shape a string leave it alone: a table's header is its own template run over
    /// the names of the columns.
    Header,
}

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    set: parse::Set,
    text: String,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// Go's message, as `template: :1: unclosed action`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Ok(Self { set: parse::parse(text)?, text: text.to_owned() })
    }

    /// Runs it over `data` and appends to `out`, also in front of an error.
    ///
    /// # Errors
    /// Go's message, as `template: :1:2: executing "" at <.X>: map has no entry for key "X"`.
    pub fn execute(
        &self,
        data: &Value,
        missing: MissingKey,
        functions: Functions,
        out: &mut String,
    ) -> Result<(), ExecError> {
        exec::run(self, data, exec::Mode { missing, functions }, out)
    }

    /// Whether a field of this name is read anywhere, at whatever depth.
    #[must_use]
    pub fn mentions(&self, field: &str) -> bool {
        fields::mentioned(&self.set, field)
    }
}
