//! Builds the tree from the items, by the grammar of Go's text/template.
//!
//! Messages are Go's. Nesting is bounded, so a hostile template cannot exhaust the stack.

mod pipeline;

use super::ast::{Branch, Node};
use super::lex::{Item, Keyword, Kind, lex};
use super::{ParseError, literal};
use std::collections::HashMap;

/// How deep parentheses and control structures may nest together.
const MAX_DEPTH: usize = 100;

/// All templates of one text: the unnamed one and those it defines.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) root: Vec<Node>,
    pub(super) defined: HashMap<String, Vec<Node>>,
}

/// Parses `text`.
pub(super) fn parse(text: &str) -> Result<Set, ParseError> {
    let mut parser = Parser {
        items: lex(text),
        at: 0,
        variables: vec!["$".to_owned()],
        ranges: 0,
        depth: 0,
        action_line: 0,
        defined: HashMap::new(),
    };
    let root = parser.top_level()?;
    Ok(Set { root, defined: parser.defined })
}

type Result<T, E = ParseError> = std::result::Result<T, E>;

/// How a list of nodes came to its end.
enum Ending {
    End,
    Else(Else),
}

/// What follows `else` in its action.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Else {
    Plain,
    If,
    With,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::End => "{{end}}",
            Self::Else(_) => "{{else}}",
        })
    }
}

enum Parsed {
    Node(Node),
    Ending(Ending),
}

struct Parser {
    items: Vec<Item>,
    at: usize,
    variables: Vec<String>,
    ranges: usize,
    depth: usize,
    action_line: usize,
    defined: HashMap<String, Vec<Node>>,
}

impl Parser {
    fn peek(&self) -> &Item {
        // The last item is EOF or an error, and is never passed.
        &self.items[self.at.min(self.items.len() - 1)]
    }

    fn next(&mut self) -> Item {
        let item = self.peek().clone();
        self.at += 1;
        item
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn peek_non_space(&mut self) -> &Item {
        self.skip_space();
        self.peek()
    }

    fn next_non_space(&mut self) -> Item {
        self.skip_space();
        self.next()
    }

    fn fail<T>(&self, message: impl std::fmt::Display) -> Result<T> {
        let last = self.at.clamp(1, self.items.len()) - 1;
        Err(ParseError(format!("template: :{}: {message}", self.items[last].line)))
    }

    fn unexpected<T>(&self, item: &Item, context: &str) -> Result<T> {
        if item.kind != Kind::Error {
            return self.fail(format_args!("unexpected {item} in {context}"));
        }
        if self.action_line == 0 || self.action_line == item.line {
            return self.fail(item);
        }
        let place = if item.text.ends_with(" action") { "" } else { " in action" };
        self.fail(format_args!("{item}{place} started at :{}", self.action_line))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Item> {
        let item = self.next_non_space();
        if item.kind == kind { Ok(item) } else { self.unexpected(&item, context) }
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == MAX_DEPTH {
            return self.fail(format_args!("nested more than {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn top_level(&mut self) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        while self.peek().kind != Kind::Eof {
            if self.at_definition() {
                self.definition()?;
                continue;
            }
            match self.text_or_action()? {
                Parsed::Node(node) => nodes.push(node),
                Parsed::Ending(ending) => return self.fail(format_args!("unexpected {ending}")),
            }
        }
        Ok(nodes)
    }

    /// Moves past `{{define` if that is next.
    fn at_definition(&mut self) -> bool {
        let start = self.at;
        let found = self.next().kind == Kind::LeftDelim
            && self.next_non_space().kind == Kind::Keyword(Keyword::Define);
        if !found {
            self.at = start;
        }
        found
    }

    fn definition(&mut self) -> Result<()> {
        let context = "define clause";
        let name = self.template_name(context)?;
        self.expect(Kind::RightDelim, context)?;
        self.named(name, context)
    }

    /// Parses the body of a `define` or `block` up to its end. Like a template of its own, it
    /// sees no variable of what surrounds it.
    fn named(&mut self, name: String, context: &str) -> Result<()> {
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (nodes, ending) = self.deeper(Self::list)?;
        self.variables = outer;
        self.ranges = ranges;
        if let Ending::Else(_) = ending {
            return self.fail(format_args!("unexpected {ending} in {context}"));
        }
        let empty = |nodes: &[Node]| {
            nodes.iter().all(|n| matches!(n, Node::Text(text) if text.trim().is_empty()))
        };
        let taken = self.defined.get(&name).is_some_and(|old| !empty(old));
        if !taken {
            self.defined.insert(name, nodes);
        } else if !empty(&nodes) {
            let name = literal::quote(&name);
            return self.fail(format_args!("template: multiple definition of template {name}"));
        }
        Ok(())
    }

    fn template_name(&mut self, context: &str) -> Result<String> {
        let item = self.next_non_space();
        match item.kind {
            Kind::String | Kind::RawString => self.unquoted(&item),
            _ => self.unexpected(&item, context),
        }
    }

    fn unquoted(&self, item: &Item) -> Result<String> {
        literal::unquote(&item.text).or_else(|message| self.fail(message))
    }

    /// Nodes up to an `{{end}}` or `{{else}}`.
    fn list(&mut self) -> Result<(Vec<Node>, Ending)> {
        let mut nodes = Vec::new();
        while self.peek_non_space().kind != Kind::Eof {
            match self.text_or_action()? {
                Parsed::Node(node) => nodes.push(node),
                Parsed::Ending(ending) => return Ok((nodes, ending)),
            }
        }
        self.next();
        self.fail("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Result<Parsed> {
        let item = self.next_non_space();
        match item.kind {
            Kind::Text => Ok(Parsed::Node(Node::Text(item.text))),
            Kind::LeftDelim => {
                self.action_line = item.line;
                let parsed = self.action();
                self.action_line = 0;
                parsed
            }
            _ => self.unexpected(&item, "input"),
        }
    }

    fn action(&mut self) -> Result<Parsed> {
        let item = self.next_non_space();
        let pos = item.pos;
        let node = match item.kind {
            Kind::Keyword(Keyword::Block) => self.block()?,
            Kind::Keyword(Keyword::Break) => {
                self.loop_control("{{break}}")?;
                Node::Break
            }
            Kind::Keyword(Keyword::Continue) => {
                self.loop_control("{{continue}}")?;
                Node::Continue
            }
            Kind::Keyword(Keyword::Else) => return self.else_control(),
            Kind::Keyword(Keyword::End) => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Parsed::Ending(Ending::End));
            }
            Kind::Keyword(Keyword::If) => Node::If(self.control(Keyword::If)?),
            Kind::Keyword(Keyword::Range) => Node::Range(self.control(Keyword::Range)?),
            Kind::Keyword(Keyword::With) => Node::With(self.control(Keyword::With)?),
            Kind::Keyword(Keyword::Template) => self.template()?,
            _ => {
                self.at -= 1;
                Node::Action { pos, pipe: self.pipeline("command", Kind::RightDelim)? }
            }
        };
        Ok(Parsed::Node(node))
    }

    fn loop_control(&mut self, name: &str) -> Result<()> {
        let item = self.next_non_space();
        if item.kind != Kind::RightDelim {
            return self.unexpected(&item, name);
        }
        if self.ranges == 0 {
            return self.fail(format_args!("{name} outside {{{{range}}}}"));
        }
        Ok(())
    }

    fn else_control(&mut self) -> Result<Parsed> {
        let follows = match self.peek_non_space().kind {
            Kind::Keyword(Keyword::If) => Else::If,
            Kind::Keyword(Keyword::With) => Else::With,
            _ => {
                self.expect(Kind::RightDelim, "else")?;
                Else::Plain
            }
        };
        Ok(Parsed::Ending(Ending::Else(follows)))
    }

    fn control(&mut self, keyword: Keyword) -> Result<Branch> {
        self.deeper(|parser| {
            let visible = parser.variables.len();
            let branch = parser.branch(keyword);
            parser.variables.truncate(visible);
            branch
        })
    }

    fn branch(&mut self, keyword: Keyword) -> Result<Branch> {
        let context = match keyword {
            Keyword::Range => "range",
            Keyword::With => "with",
            _ => "if",
        };
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let loops = usize::from(keyword == Keyword::Range);
        self.ranges += loops;
        let body = self.list();
        self.ranges -= loops;
        let (list, ending) = body?;
        let otherwise = match ending {
            Ending::End => None,
            Ending::Else(follows) => Some(self.otherwise(keyword, follows)?),
        };
        Ok(Branch { pos: pipe.pos, pipe, list, otherwise })
    }

    /// The list after `else`; `else if` and `else with` share the outer `end`.
    fn otherwise(&mut self, keyword: Keyword, follows: Else) -> Result<Vec<Node>> {
        match (keyword, follows) {
            (Keyword::If, Else::If) => {
                self.next();
                return Ok(vec![Node::If(self.control(keyword)?)]);
            }
            (Keyword::With, Else::With) => {
                self.next();
                return Ok(vec![Node::With(self.control(keyword)?)]);
            }
            _ => {}
        }
        let (nodes, ending) = self.list()?;
        match ending {
            Ending::End => Ok(nodes),
            Ending::Else(_) => self.fail(format_args!("expected end; found {ending}")),
        }
    }

    fn block(&mut self) -> Result<Node> {
        let context = "block clause";
        let pos = self.peek_non_space().pos;
        let name = self.template_name(context)?;
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        self.named(name.clone(), context)?;
        Ok(Node::Template { pos, name, pipe: Some(pipe) })
    }

    fn template(&mut self) -> Result<Node> {
        let context = "template clause";
        let pos = self.peek_non_space().pos;
        let name = self.template_name(context)?;
        if self.peek_non_space().kind == Kind::RightDelim {
            self.next();
            return Ok(Node::Template { pos, name, pipe: None });
        }
        Ok(Node::Template { pos, name, pipe: Some(self.pipeline(context, Kind::RightDelim)?) })
    }
}
