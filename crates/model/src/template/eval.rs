//! Evaluates pipelines: commands, operands, fields, and the arguments of functions.

use super::ast::{Command, Expr, ExprKind, Pipe, Store};
use super::exec::{At, Exec};
use super::funcs::{self, Function, Param};
use super::literal::Number;
use super::value::{Elem, Map, Method, NilKind, Struct, Value};
use super::{ExecError, MissingKey, literal, print};
use std::rc::Rc;

type Result<T, E = ExecError> = std::result::Result<T, E>;

/// What a command is given: its own arguments, and the value piped into it.
#[derive(Clone, Copy)]
struct Given<'t, 'v> {
    args: &'t [Expr],
    piped: Option<&'v Value>,
}

/// The method of rows that have labels.
const LABEL: Function = Function {
    name: "Label",
    params: &[Param::Str],
    rest: None,
    run: |args, _, _| Ok(args[0].clone()),
};

/// Its argument, a function of Go's, can only be `nil` here: who writes a template has no other.
const EXTRA: Function = Function {
    name: EXTRA_NAME,
    params: &[Param::Any],
    rest: None,
    run: |args, _, _| Ok(args[0].clone()),
};
const EXTRA_NAME: &str = "ExtraAttributes";

impl Given<'_, '_> {
    const NOTHING: Self = Self { args: &[], piped: None };

    fn any(self) -> bool {
        !self.args.is_empty() || self.piped.is_some()
    }
}

impl<'t> Exec<'t, '_> {
    pub(super) fn pipeline(&mut self, dot: &Value, pipe: &'t Pipe) -> Result<Value> {
        self.at = At::Pipe(pipe);
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value.as_ref())?);
        }
        let value = value.unwrap_or(Value::Missing);
        // The loop variables of a range are set for each item; this first value is dropped with
        // the scope.
        for name in &pipe.variables {
            match pipe.store {
                Store::Assign => self.assign(name, value.clone()),
                Store::Declare => self.declare(name, value.clone()),
            }
        }
        Ok(value)
    }

    fn command(
        &mut self,
        dot: &Value,
        command: &'t Command,
        piped: Option<&Value>,
    ) -> Result<Value> {
        let first = &command.args[0];
        let given = Given { args: &command.args[1..], piped };
        match &first.kind {
            ExprKind::Field(names) => {
                self.at = At::Expr(first);
                self.fields(dot, dot.clone(), names, given)
            }
            ExprKind::Chain { node, fields } => self.chain(dot, first, (node, fields), given),
            ExprKind::Function(name) => {
                self.at = At::Expr(first);
                let at = At::Command(command.pos, &command.args);
                self.function(dot, name, given, at)
            }
            ExprKind::Pipe(pipe) => {
                self.no_arguments(first, given)?;
                self.deeper(|exec| exec.pipeline(dot, pipe))
            }
            ExprKind::Variable(names) => {
                self.at = At::Expr(first);
                let value = self.variable(&names[0])?;
                if names.len() == 1 {
                    self.no_arguments(first, given)?;
                    return Ok(value);
                }
                self.fields(dot, value, &names[1..], given)
            }
            ExprKind::Nil => {
                self.at = At::Expr(first);
                self.no_arguments(first, given)?;
                self.fail("nil is not a command")
            }
            ExprKind::Bool(_) | ExprKind::Dot | ExprKind::Number { .. } | ExprKind::Str { .. } => {
                self.at = At::Expr(first);
                self.no_arguments(first, given)?;
                self.constant(dot, first)
            }
        }
    }

    fn no_arguments(&self, first: &Expr, given: Given<'_, '_>) -> Result<()> {
        if given.any() {
            return self.fail(format_args!("can't give argument to non-function {first}"));
        }
        Ok(())
    }

    fn constant(&self, dot: &Value, expr: &Expr) -> Result<Value> {
        Ok(match &expr.kind {
            ExprKind::Bool(value) => Value::Bool(*value),
            ExprKind::Number { value: Number::Int(value), .. } => Value::Int(*value),
            ExprKind::Number { value: Number::Float(value), .. } => Value::Float(*value),
            ExprKind::Number { text, value: Number::TooLarge } => {
                return self.fail(format_args!("{text} overflows int"));
            }
            ExprKind::Str { text, .. } => Value::str(text),
            _ => dot.clone(),
        })
    }

    fn chain(
        &mut self,
        dot: &Value,
        whole: &'t Expr,
        (node, names): (&'t Expr, &'t [String]),
        given: Given<'t, '_>,
    ) -> Result<Value> {
        self.at = At::Expr(whole);
        if matches!(node.kind, ExprKind::Nil) {
            return self.fail(format_args!("indirection through explicit nil in {whole}"));
        }
        let value = self.operand(dot, node)?;
        self.at = At::Expr(whole);
        self.fields(dot, value, names, given)
    }

    /// `.A.B.C`: only the last may be a method with arguments.
    fn fields(
        &mut self,
        dot: &Value,
        mut value: Value,
        names: &'t [String],
        given: Given<'t, '_>,
    ) -> Result<Value> {
        let Some((last, path)) = names.split_last() else { return Ok(value) };
        for name in path {
            value = self.field(dot, &value, name, Given::NOTHING)?;
        }
        self.field(dot, &value, last, given)
    }

    fn field(
        &mut self,
        dot: &Value,
        value: &Value,
        name: &'t str,
        given: Given<'t, '_>,
    ) -> Result<Value> {
        match value {
            Value::Missing if self.mode.missing == MissingKey::Error => {
                let key = literal::quote(name);
                self.fail(format_args!("nil data; no entry for key {key}"))
            }
            Value::Missing => Ok(Value::Missing),
            Value::Null | Value::Nil(NilKind::Pointer) => {
                let kind = value.type_name();
                self.fail(format_args!("nil pointer evaluating {kind}.{name}"))
            }
            Value::Struct(record) => self.struct_field(dot, record, name, given),
            Value::Map(_) | Value::Nil(NilKind::Map) if given.any() => {
                self.fail(format_args!("{name} is not a method but has arguments"))
            }
            Value::Map(map) => match map.entries.get(name) {
                Some(entry) => Ok(entry.clone()),
                None => self.missing_key(name),
            },
            Value::Nil(NilKind::Map) => self.missing_key(name),
            Value::Nil(NilKind::Slice)
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Str(_)
            | Value::Number(_)
            | Value::List(_) => {
                // In untyped data, which are those whose missing keys are errors, everything
                // below the top is an interface.
                let kind = match self.mode.missing {
                    MissingKey::Error => Value::Null.type_name(),
                    MissingKey::NoValue => value.type_name(),
                };
                self.fail(format_args!("can't evaluate field {name} in type {kind}"))
            }
        }
    }

    fn missing_key(&self, name: &str) -> Result<Value> {
        match self.mode.missing {
            MissingKey::NoValue => Ok(Value::Missing),
            MissingKey::Error => {
                let key = literal::quote(name);
                self.fail(format_args!("map has no entry for key {key}"))
            }
        }
    }

    fn struct_field(
        &mut self,
        dot: &Value,
        record: &Struct,
        name: &'t str,
        given: Given<'t, '_>,
    ) -> Result<Value> {
        if let (EXTRA_NAME, Method::ExtraAttributes(entries)) = (name, &record.method) {
            self.count_arguments(&EXTRA, given)?;
            let entries = entries.iter().map(|(key, text)| (key.clone(), Value::str(text)));
            let map = Map { entries: entries.collect(), elem: Elem::Str };
            return Ok(Value::Map(Rc::new(map)));
        }
        if name == "Label" && record.method.label("").is_some() {
            self.count_arguments(&LABEL, given)?;
            let args = self.arguments(dot, &LABEL, given)?;
            let key = args.first().and_then(Value::text).unwrap_or_default();
            return Ok(Value::str(record.method.label(key).unwrap_or_default()));
        }
        match record.field(name) {
            Some(_) if given.any() => {
                self.fail(format_args!("{name} has arguments but cannot be invoked as function"))
            }
            Some(value) => Ok(value.clone()),
            // The header of a table is a map in Go: an unknown column is no error there.
            None if matches!(record.method, Method::LabelHeader) => self.missing_key(name),
            None => {
                let kind = record.type_name;
                self.fail(format_args!("can't evaluate field {name} in type {kind}"))
            }
        }
    }

    fn function(
        &mut self,
        dot: &Value,
        name: &'t str,
        given: Given<'t, '_>,
        at: At<'t>,
    ) -> Result<Value> {
        let Some(function) = funcs::find(name) else {
            return self.fail(format_args!("{} is not a defined function", literal::quote(name)));
        };
        self.count_arguments(function, given)?;
        if matches!(name, "and" | "or") {
            return self.short_circuit(dot, name == "or", given);
        }
        let args = self.arguments(dot, function, given)?;
        match (function.run)(&args, self.mode.functions, given.args.first()) {
            Ok(value) => self.bounded(value),
            Err(message) => {
                self.at = at;
                self.fail(format_args!("error calling {name}: {message}"))
            }
        }
    }

    fn count_arguments(&self, function: &Function, given: Given<'_, '_>) -> Result<()> {
        let count = given.args.len() + usize::from(given.piped.is_some());
        let fixed = function.params.len();
        let name = function.name;
        if function.rest.is_some() && count < fixed {
            let got = given.args.len();
            return self.fail(format_args!(
                "wrong number of args for {name}: want at least {fixed} got {got}"
            ));
        }
        if function.rest.is_none() && count != fixed {
            return self
                .fail(format_args!("wrong number of args for {name}: want {fixed} got {count}"));
        }
        Ok(())
    }

    /// `and` and `or` stop at the argument that decides.
    fn short_circuit(&mut self, dot: &Value, stop_at: bool, given: Given<'t, '_>) -> Result<Value> {
        let mut value = Value::Missing;
        for arg in given.args {
            value = self.argument(dot, Param::Any, arg)?;
            if value.is_true() == stop_at {
                return Ok(value);
            }
        }
        Ok(given.piped.cloned().unwrap_or(value))
    }

    fn arguments(
        &mut self,
        dot: &Value,
        function: &Function,
        given: Given<'t, '_>,
    ) -> Result<Vec<Value>> {
        let count = given.args.len() + usize::from(given.piped.is_some());
        let param =
            |i: usize| function.params.get(i).copied().or(function.rest).unwrap_or(Param::Any);
        let mut values = Vec::with_capacity(count);
        for (i, arg) in given.args.iter().enumerate() {
            values.push(self.argument(dot, param(i), arg)?);
        }
        if let Some(piped) = given.piped {
            values.push(self.fit(piped.clone(), param(given.args.len()))?);
        }
        Ok(values)
    }

    /// One argument, as the type that the function wants.
    fn argument(&mut self, dot: &Value, param: Param, arg: &'t Expr) -> Result<Value> {
        self.at = At::Expr(arg);
        match (&arg.kind, param) {
            (ExprKind::Nil, Param::Any | Param::List) => Ok(Value::Null),
            (ExprKind::Nil, _) => {
                self.fail(format_args!("cannot assign nil to {}", param.type_name()))
            }
            (ExprKind::Str { .. }, Param::Any | Param::Str)
            | (ExprKind::Bool(_), Param::Any)
            | (ExprKind::Number { .. }, Param::Any)
            | (ExprKind::Number { value: Number::Int(_), .. }, Param::Int) => {
                self.constant(dot, arg)
            }
            (ExprKind::Number { value: Number::Float(value), .. }, Param::Int)
                if value.fract() == 0.0 && value.abs() < 9e15 =>
            {
                Ok(print::float_to_int(*value))
            }
            (ExprKind::Bool(_) | ExprKind::Number { .. }, Param::Str) => {
                self.fail(format_args!("expected string; found {arg}"))
            }
            (ExprKind::Str { .. } | ExprKind::Bool(_) | ExprKind::Number { .. }, Param::Int) => {
                self.fail(format_args!("expected integer; found {arg}"))
            }
            (ExprKind::Str { .. } | ExprKind::Bool(_) | ExprKind::Number { .. }, Param::List) => {
                self.fail(format_args!("can't handle {arg} for arg of type []string"))
            }
            _ => {
                let value = self.operand(dot, arg)?;
                self.fit(value, param)
            }
        }
    }

    /// An operand on its own: no arguments.
    fn operand(&mut self, dot: &Value, arg: &'t Expr) -> Result<Value> {
        self.at = At::Expr(arg);
        match &arg.kind {
            ExprKind::Field(names) => self.fields(dot, dot.clone(), names, Given::NOTHING),
            ExprKind::Variable(names) => {
                let value = self.variable(&names[0])?;
                self.fields(dot, value, &names[1..], Given::NOTHING)
            }
            ExprKind::Pipe(pipe) => {
                let value = self.deeper(|exec| exec.pipeline(dot, pipe))?;
                self.at = At::Expr(arg);
                Ok(value)
            }
            ExprKind::Function(name) => self.function(dot, name, Given::NOTHING, At::Expr(arg)),
            ExprKind::Chain { node, fields } => {
                self.chain(dot, arg, (node, fields), Given::NOTHING)
            }
            ExprKind::Bool(_)
            | ExprKind::Dot
            | ExprKind::Nil
            | ExprKind::Number { .. }
            | ExprKind::Str { .. } => self.constant(dot, arg),
        }
    }

    fn fit(&self, value: Value, param: Param) -> Result<Value> {
        let fits = match param {
            Param::Any => true,
            Param::Str => matches!(value, Value::Str(_)),
            Param::Int => matches!(value, Value::Int(_)),
            Param::List => matches!(
                value,
                Value::Missing | Value::Null | Value::Nil(NilKind::Slice) | Value::List(_)
            ),
        };
        if fits {
            return Ok(value);
        }
        let want = param.type_name();
        if matches!(value, Value::Missing) {
            return self.fail(format_args!("invalid value; expected {want}"));
        }
        let got = value.type_name();
        self.fail(format_args!("wrong type for value; expected {want}; got {got}"))
    }
}
