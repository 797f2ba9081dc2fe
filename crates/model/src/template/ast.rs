//! The parsed template: nodes, and how each is written back for messages.

use super::literal::Number;
use std::fmt::{self, Display as _};

/// Something that an action list holds.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action { pos: usize, pipe: Pipe },
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { pos: usize, name: String, pipe: Option<Pipe> },
    Break,
    Continue,
}

/// `if`, `with` or `range`: a pipeline and two lists.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) pos: usize,
    pub(super) pipe: Pipe,
    pub(super) list: Vec<Node>,
    pub(super) otherwise: Option<Vec<Node>>,
}

/// Commands joined by `|`, with the variables that take the result.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) pos: usize,
    pub(super) store: Store,
    pub(super) variables: Vec<String>,
    pub(super) commands: Vec<Command>,
}

/// What a pipeline does to its variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    /// `$x := …`
    Declare,
    /// `$x = …`
    Assign,
}

/// An operand, and its arguments if it is a function or a method.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) pos: usize,
    pub(super) args: Vec<Expr>,
}

/// One operand.
#[derive(Debug)]
pub(super) struct Expr {
    pub(super) pos: usize,
    pub(super) kind: ExprKind,
}

#[derive(Debug)]
pub(super) enum ExprKind {
    Bool(bool),
    Dot,
    Nil,
    Number {
        text: String,
        value: Number,
    },
    Str {
        quoted: String,
        text: String,
    },
    /// `.A.B`
    Field(Vec<String>),
    /// `$x`, `$x.A`: the name with its dollar, then fields.
    Variable(Vec<String>),
    /// `(pipeline).A`, `f.A`.
    Chain {
        node: Box<Expr>,
        fields: Vec<String>,
    },
    Function(String),
    Pipe(Pipe),
}

impl ExprKind {
    /// Whether it may stand at the head of a later pipeline stage.
    pub(super) fn executable(&self) -> bool {
        !matches!(
            self,
            Self::Bool(_) | Self::Dot | Self::Nil | Self::Number { .. } | Self::Str { .. }
        )
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Action { pipe, .. } => write!(f, "{{{{{pipe}}}}}"),
            Self::If(branch) => write_branch(f, "if", branch),
            Self::With(branch) => write_branch(f, "with", branch),
            Self::Range(branch) => write_branch(f, "range", branch),
            Self::Template { name, pipe, .. } => {
                write!(f, "{{{{template {}", super::literal::quote(name))?;
                if let Some(pipe) = pipe {
                    write!(f, " {pipe}")?;
                }
                f.write_str("}}")
            }
            Self::Break => f.write_str("{{break}}"),
            Self::Continue => f.write_str("{{continue}}"),
        }
    }
}

fn write_branch(f: &mut fmt::Formatter<'_>, name: &str, branch: &Branch) -> fmt::Result {
    write!(f, "{{{{{name} {}}}}}", branch.pipe)?;
    branch.list.iter().try_for_each(|node| node.fmt(f))?;
    if let Some(otherwise) = &branch.otherwise {
        f.write_str("{{else}}")?;
        otherwise.iter().try_for_each(|node| node.fmt(f))?;
    }
    f.write_str("{{end}}")
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.store == Store::Assign { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (i, command) in self.commands.iter().enumerate() {
            if i > 0 {
                f.write_str(" | ")?;
            }
            command.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, arg) in self.args.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            arg.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Bool(value) => write!(f, "{value}"),
            ExprKind::Dot => f.write_str("."),
            ExprKind::Nil => f.write_str("nil"),
            ExprKind::Number { text, .. } => f.write_str(text),
            ExprKind::Str { quoted, .. } => f.write_str(quoted),
            ExprKind::Field(names) => names.iter().try_for_each(|name| write!(f, ".{name}")),
            ExprKind::Variable(names) => f.write_str(&names.join(".")),
            ExprKind::Chain { node, fields } => {
                node.fmt(f)?;
                fields.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            ExprKind::Function(name) => f.write_str(name),
            ExprKind::Pipe(pipe) => write!(f, "({pipe})"),
        }
    }
}
