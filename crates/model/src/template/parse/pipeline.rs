//! Pipelines: variables, commands, operands.

use super::{Parser, Result};
use crate::template::ast::{Command, Expr, ExprKind, Pipe, Store};
use crate::template::lex::Kind;
use crate::template::{funcs, literal};

impl Parser {
    pub(super) fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe> {
        let pos = self.peek_non_space().pos;
        let mut pipe =
            Pipe { pos, store: Store::Declare, variables: Vec::new(), commands: Vec::new() };
        while self.declaration(&mut pipe, context)? {}
        loop {
            let item = self.next_non_space();
            match item.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.at -= 1;
                    pipe.commands.push(self.deeper(Self::command)?);
                }
                _ => return self.unexpected(&item, context),
            }
        }
        self.check(&pipe, context)?;
        Ok(pipe)
    }

    fn check(&self, pipe: &Pipe, context: &str) -> Result<()> {
        if pipe.commands.is_empty() {
            return self.fail(format_args!("missing value for {context}"));
        }
        for (i, command) in pipe.commands.iter().enumerate().skip(1) {
            if !command.args[0].kind.executable() {
                let stage = i + 1;
                return self.fail(format_args!("non executable command in pipeline stage {stage}"));
            }
        }
        Ok(())
    }

    /// Takes one `$x :=`, `$x =` or `$x,`; true if another may follow.
    fn declaration(&mut self, pipe: &mut Pipe, context: &str) -> Result<bool> {
        if self.peek_non_space().kind != Kind::Variable {
            return Ok(false);
        }
        let start = self.at;
        let name = self.next().text;
        let sign = self.next_non_space();
        match sign.kind {
            Kind::Assign | Kind::Declare => {
                let assigns = sign.kind == Kind::Assign;
                pipe.store = if assigns { Store::Assign } else { Store::Declare };
                self.variables.push(name.clone());
                pipe.variables.push(name);
                Ok(false)
            }
            Kind::Char if sign.text == "," => {
                self.variables.push(name.clone());
                pipe.variables.push(name);
                if context != "range" || pipe.variables.len() >= 2 {
                    return self.fail(format_args!("too many declarations in {context}"));
                }
                match self.peek_non_space().kind {
                    Kind::Variable | Kind::RightDelim | Kind::RightParen => Ok(true),
                    _ => self.fail("range can only initialize variables"),
                }
            }
            _ => {
                self.at = start;
                Ok(false)
            }
        }
    }

    fn command(&mut self) -> Result<Command> {
        let pos = self.peek_non_space().pos;
        let mut args = Vec::new();
        loop {
            self.skip_space();
            args.extend(self.operand()?);
            let item = self.next();
            match item.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.at -= 1,
                Kind::Pipe => {}
                _ => return self.unexpected(&item, "operand"),
            }
            break;
        }
        if args.is_empty() {
            return self.fail("empty command");
        }
        Ok(Command { pos, args })
    }

    /// A term and the fields that follow it.
    fn operand(&mut self) -> Result<Option<Expr>> {
        let Some(term) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let pos = self.peek().pos;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(self.next().text[1..].to_owned());
        }
        let kind = match term.kind {
            ExprKind::Field(mut names) => {
                names.append(&mut fields);
                ExprKind::Field(names)
            }
            ExprKind::Variable(mut names) => {
                names.append(&mut fields);
                ExprKind::Variable(names)
            }
            ref kind if !kind.executable() => {
                let term = literal::quote(&term.to_string());
                return self.fail(format_args!("unexpected . after term {term}"));
            }
            _ => ExprKind::Chain { node: Box::new(term), fields },
        };
        Ok(Some(Expr { pos, kind }))
    }

    fn term(&mut self) -> Result<Option<Expr>> {
        let item = self.next_non_space();
        let pos = item.pos;
        let kind = match item.kind {
            Kind::Identifier if funcs::find(&item.text).is_none() => {
                let name = literal::quote(&item.text);
                return self.fail(format_args!("function {name} not defined"));
            }
            Kind::Identifier => ExprKind::Function(item.text),
            Kind::Dot => ExprKind::Dot,
            Kind::Nil => ExprKind::Nil,
            Kind::Variable if !self.variables.contains(&item.text) => {
                let name = literal::quote(&item.text);
                return self.fail(format_args!("undefined variable {name}"));
            }
            Kind::Variable => ExprKind::Variable(vec![item.text]),
            Kind::Field => ExprKind::Field(vec![item.text[1..].to_owned()]),
            Kind::Bool => ExprKind::Bool(item.text == "true"),
            Kind::CharConstant => {
                let value = literal::character(&item.text).or_else(|m| self.fail(m))?;
                ExprKind::Number { text: item.text, value: literal::Number::Int(value) }
            }
            Kind::Number => {
                let value = literal::number(&item.text).or_else(|m| self.fail(m))?;
                ExprKind::Number { text: item.text, value }
            }
            Kind::LeftParen => ExprKind::Pipe(
                self.deeper(|p| p.pipeline("parenthesized pipeline", Kind::RightParen))?,
            ),
            Kind::String | Kind::RawString => {
                let text = self.unquoted(&item)?;
                ExprKind::Str { quoted: item.text, text }
            }
            _ => {
                self.at -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Expr { pos, kind }))
    }
}
