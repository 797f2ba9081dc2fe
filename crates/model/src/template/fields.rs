//! Which fields a template reads, so that costly ones are asked for only when they are shown.

use super::ast::{Branch, Expr, ExprKind, Node, Pipe};
use super::parse::Set;

/// Whether `name` is read anywhere in the set.
pub(super) fn mentioned(set: &Set, name: &str) -> bool {
    in_nodes(&set.root, name) || set.defined.values().any(|nodes| in_nodes(nodes, name))
}

fn in_nodes(nodes: &[Node], name: &str) -> bool {
    nodes.iter().any(|node| match node {
        Node::Text(_) | Node::Break | Node::Continue => false,
        Node::Action { pipe, .. } => in_pipe(pipe, name),
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => in_branch(branch, name),
        Node::Template { pipe, .. } => pipe.as_ref().is_some_and(|pipe| in_pipe(pipe, name)),
    })
}

fn in_branch(branch: &Branch, name: &str) -> bool {
    in_pipe(&branch.pipe, name)
        || in_nodes(&branch.list, name)
        || branch.otherwise.as_ref().is_some_and(|nodes| in_nodes(nodes, name))
}

fn in_pipe(pipe: &Pipe, name: &str) -> bool {
    pipe.commands.iter().flat_map(|command| &command.args).any(|arg| in_expr(arg, name))
}

fn in_expr(expr: &Expr, name: &str) -> bool {
    match &expr.kind {
        ExprKind::Bool(_)
        | ExprKind::Dot
        | ExprKind::Nil
        | ExprKind::Number { .. }
        | ExprKind::Str { .. }
        | ExprKind::Function(_) => false,
        ExprKind::Field(names) | ExprKind::Variable(names) => names.iter().any(|n| n == name),
        ExprKind::Chain { node, fields } => fields.iter().any(|n| n == name) || in_expr(node, name),
        ExprKind::Pipe(pipe) => in_pipe(pipe, name),
    }
}
