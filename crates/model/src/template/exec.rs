//! Walks the tree: text, control structures, and calls of named templates.
//!
//! Pipelines and their operands are in `eval`. Depth and output are bounded.

use super::ast::{Branch, Expr, Node, Pipe, Store};
use super::value::{NilKind, Value};
use super::{ExecError, Functions, MissingKey, Template, literal, print};
use std::fmt;
use std::rc::Rc;

/// How deep control structures, pipelines and calls of templates may nest while running.
const MAX_DEPTH: usize = 400;
/// How many bytes a template may produce.
const MAX_OUTPUT: usize = 64 << 20;

/// How many steps a template may take: one that repeats itself for ever must not hold up a server.
const MAX_STEPS: usize = 1_000_000;

/// How a template is run.
#[derive(Clone, Copy)]
pub(super) struct Mode {
    pub(super) missing: MissingKey,
    pub(super) functions: Functions,
}

pub(super) fn run(
    template: &Template,
    data: &Value,
    mode: Mode,
    out: &mut String,
) -> Result<(), ExecError> {
    let mut exec = Exec {
        template,
        mode,
        limit: out.len() + MAX_OUTPUT,
        out,
        variables: vec![("$", data.clone())],
        at: At::Start,
        depth: 0,
        steps: 0,
        name: "",
    };
    exec.list(data, &template.set.root)?;
    Ok(())
}

/// The node that an error is reported at.
#[derive(Clone, Copy)]
pub(super) enum At<'t> {
    Start,
    Node(usize, &'t Node),
    Pipe(&'t Pipe),
    Command(usize, &'t [Expr]),
    Expr(&'t Expr),
}

impl At<'_> {
    fn pos(self) -> usize {
        match self {
            Self::Start => 0,
            Self::Node(pos, _) | Self::Command(pos, _) => pos,
            Self::Pipe(pipe) => pipe.pos,
            Self::Expr(expr) => expr.pos,
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => Ok(()),
            Self::Node(_, node) => node.fmt(f),
            Self::Pipe(pipe) => pipe.fmt(f),
            Self::Expr(expr) => expr.fmt(f),
            Self::Command(_, args) => {
                let words: Vec<String> = args.iter().map(ToString::to_string).collect();
                f.write_str(&words.join(" "))
            }
        }
    }
}

/// What happens after a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

type Result<T, E = ExecError> = std::result::Result<T, E>;

pub(super) struct Exec<'t, 'o> {
    template: &'t Template,
    pub(super) mode: Mode,
    limit: usize,
    out: &'o mut String,
    variables: Vec<(&'t str, Value)>,
    pub(super) at: At<'t>,
    depth: usize,
    /// Nodes and repetitions so far.
    steps: usize,
    /// The name of the running template.
    name: &'t str,
}

impl<'t> Exec<'t, '_> {
    /// An error at the current node.
    pub(super) fn fail<T>(&self, message: impl fmt::Display) -> Result<T> {
        let pos = self.at.pos();
        let before = &self.template.text[..pos];
        let line = 1 + before.matches('\n').count();
        let column = before.rfind('\n').map_or(pos, |newline| pos - newline - 1);
        let name = literal::quote(self.name);
        let node = self.at;
        Err(ExecError(format!(
            "template: :{line}:{column}: executing {name} at <{node}>: {message}"
        )))
    }

    pub(super) fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == MAX_DEPTH {
            return self.fail(format_args!("exceeded maximum template depth ({MAX_DEPTH})"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn step(&mut self) -> Result<()> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return self.fail(format_args!("takes more than {MAX_STEPS} steps"));
        }
        Ok(())
    }

    /// Texts that a function made: what is never written must not fill the memory either.
    pub(super) fn bounded(&self, value: Value) -> Result<Value> {
        match value.text() {
            Some(text) if text.len() > MAX_OUTPUT => {
                self.fail(format_args!("a text exceeds {} MiB", MAX_OUTPUT >> 20))
            }
            _ => Ok(value),
        }
    }

    fn write(&mut self, text: &str) -> Result<()> {
        if self.out.len() + text.len() > self.limit {
            return self.fail(format_args!("output exceeds {} MiB", MAX_OUTPUT >> 20));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn list(&mut self, dot: &Value, nodes: &'t [Node]) -> Result<Flow> {
        for node in nodes {
            match self.node(dot, node)? {
                Flow::Next => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, dot: &Value, node: &'t Node) -> Result<Flow> {
        self.step()?;
        match node {
            Node::Text(text) => self.write(text)?,
            Node::Action { pos, pipe } => {
                self.at = At::Node(*pos, node);
                let value = self.pipeline(dot, pipe)?;
                let stored = !pipe.variables.is_empty();
                self.write(&if stored { String::new() } else { print::top_level(&value) })?;
            }
            Node::If(branch) | Node::With(branch) => {
                self.at = At::Node(branch.pos, node);
                let rebind = matches!(node, Node::With(_));
                return self.deeper(|exec| exec.scoped(|exec| exec.branch(dot, branch, rebind)));
            }
            Node::Range(branch) => {
                self.at = At::Node(branch.pos, node);
                self.deeper(|exec| exec.scoped(|exec| exec.range(dot, branch)))?;
            }
            Node::Template { pos, name, pipe } => {
                self.at = At::Node(*pos, node);
                self.deeper(|exec| exec.call(dot, name, pipe.as_ref()))?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    /// Variables declared inside are gone afterwards.
    fn scoped<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let visible = self.variables.len();
        let result = inner(self);
        self.variables.truncate(visible);
        result
    }

    fn branch(&mut self, dot: &Value, branch: &'t Branch, rebind: bool) -> Result<Flow> {
        let value = self.pipeline(dot, &branch.pipe)?;
        if value.is_true() {
            return self.list(if rebind { &value } else { dot }, &branch.list);
        }
        match &branch.otherwise {
            Some(nodes) => self.list(dot, nodes),
            None => Ok(Flow::Next),
        }
    }

    fn range(&mut self, dot: &Value, branch: &'t Branch) -> Result<()> {
        let value = self.pipeline(dot, &branch.pipe)?;
        let mut items = self.items(&value, branch)?.peekable();
        if items.peek().is_none() {
            let nodes = branch.otherwise.as_deref().unwrap_or_default();
            return self.list(dot, nodes).map(drop);
        }
        for (index, item) in items {
            if self.iteration(branch, index, &item)? == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    /// What a range goes through: keys and values.
    fn items(
        &self,
        value: &Value,
        branch: &Branch,
    ) -> Result<Box<dyn Iterator<Item = (Value, Value)>>> {
        match value {
            Value::Missing | Value::Null | Value::Nil(NilKind::Slice | NilKind::Map) => {
                Ok(Box::new(std::iter::empty()))
            }
            Value::List(list) => {
                let list = Rc::clone(list);
                let count = list.items.len();
                Ok(Box::new(
                    (0_i64..)
                        .zip(0..count)
                        .map(move |(index, at)| (Value::Int(index), list.items[at].clone())),
                ))
            }
            Value::Map(map) => {
                let pairs: Vec<(Value, Value)> =
                    map.entries.iter().map(|(key, item)| (Value::str(key), item.clone())).collect();
                Ok(Box::new(pairs.into_iter()))
            }
            Value::Int(count) if branch.pipe.variables.len() > 1 => {
                self.fail(format_args!("can't use {count} to iterate over more than one variable"))
            }
            Value::Int(count) => {
                Ok(Box::new((0..*count).map(|index| (Value::Missing, Value::Int(index)))))
            }
            Value::Nil(NilKind::Pointer)
            | Value::Bool(_)
            | Value::Float(_)
            | Value::Str(_)
            | Value::Number(_)
            | Value::Struct(_) => {
                let shown = print::nested(value);
                self.fail(format_args!("range can't iterate over {shown}"))
            }
        }
    }

    fn iteration(&mut self, branch: &'t Branch, index: Value, item: &Value) -> Result<Flow> {
        self.step()?;
        let names = &branch.pipe.variables;
        self.scoped(|exec| {
            match (branch.pipe.store, names.as_slice()) {
                (Store::Declare, [one]) => exec.variables.push((one, item.clone())),
                (Store::Declare, [key, value]) => {
                    exec.variables.push((key, index));
                    exec.variables.push((value, item.clone()));
                }
                (Store::Assign, [one]) => exec.assign(one, item.clone()),
                (Store::Assign, [key, value]) => {
                    exec.assign(key, index);
                    exec.assign(value, item.clone());
                }
                _ => {}
            }
            exec.list(item, &branch.list)
        })
    }

    fn call(&mut self, dot: &Value, name: &'t str, pipe: Option<&'t Pipe>) -> Result<()> {
        let template = self.template;
        let Some(nodes) = template.set.defined.get(name) else {
            return self.fail(format_args!("template {} not defined", literal::quote(name)));
        };
        let data = match pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Value::Missing,
        };
        // A template sees no variable of its caller.
        let outer = std::mem::replace(&mut self.variables, vec![("$", data.clone())]);
        let outer_name = std::mem::replace(&mut self.name, name);
        self.list(&data, nodes)?;
        self.variables = outer;
        self.name = outer_name;
        Ok(())
    }

    pub(super) fn declare(&mut self, name: &'t str, value: Value) {
        self.variables.push((name, value));
    }

    pub(super) fn assign(&mut self, name: &str, value: Value) {
        if let Some(slot) = self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            slot.1 = value;
        }
    }

    pub(super) fn variable(&self, name: &str) -> Result<Value> {
        match self.variables.iter().rev().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.fail(format_args!("undefined variable: {name}")),
        }
    }
}
