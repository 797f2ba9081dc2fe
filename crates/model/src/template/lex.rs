//! Cuts template text into items, by the rules of Go's text/template.
//!
//! Owns delimiters, trim markers, comments and the shape of each literal. What the items mean
//! together is the parser's business; what a literal is worth is `literal`'s.

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A lexing error; the text is the message.
    Error,
    Bool,
    /// A punctuation character such as a comma.
    Char,
    CharConstant,
    Assign,
    Declare,
    Eof,
    /// `.Name`.
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    /// `$` or `$name`.
    Variable,
    Dot,
    Nil,
    Keyword(Keyword),
}

/// A word with a meaning of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

/// One lexical item.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    /// Byte offset in the template.
    pub(super) pos: usize,
    /// 1-based line of its first byte.
    pub(super) line: usize,
    pub(super) text: String,
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Kind::Eof => f.write_str("EOF"),
            Kind::Error => f.write_str(&self.text),
            Kind::Keyword(_) | Kind::Dot | Kind::Nil => write!(f, "<{}>", self.text),
            _ if self.text.chars().count() > 10 => {
                let head: String = self.text.chars().take(10).collect();
                write!(f, "{}...", super::literal::quote(&head))
            }
            _ => f.write_str(&super::literal::quote(&self.text)),
        }
    }
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
/// A trim marker is a hyphen and a space.
const TRIM_MARKER: usize = 2;

/// Cuts the whole of `input`; the last item is `Eof` or `Error`.
pub(super) fn lex(input: &str) -> Vec<Item> {
    let mut lexer = Lexer { input, pos: 0, start: 0, line: 1, items: Vec::new(), parens: 0 };
    while lexer.text() == Step::More {
        while lexer.inside_action() == Step::More {}
        if lexer.items.last().is_some_and(|item| item.kind == Kind::Error) {
            break;
        }
    }
    lexer.items
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    More,
    Done,
}

struct Lexer<'a> {
    input: &'a str,
    pos: usize,
    start: usize,
    line: usize,
    items: Vec<Item>,
    parens: usize,
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn has_right_trim_marker(rest: &str) -> bool {
    let mut chars = rest.chars();
    chars.next().is_some_and(is_space) && chars.next() == Some('-')
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.input[self.pos..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn emit(&mut self, kind: Kind) -> Step {
        let text = &self.input[self.start..self.pos];
        self.items.push(Item { kind, pos: self.start, line: self.line, text: text.to_owned() });
        self.skip();
        Step::More
    }

    /// Forgets the text between start and here.
    fn skip(&mut self) {
        self.line += self.input[self.start..self.pos].matches('\n').count();
        self.start = self.pos;
    }

    fn error(&mut self, message: String) -> Step {
        self.items.push(Item {
            kind: Kind::Error,
            pos: self.start,
            line: self.line,
            text: message,
        });
        Step::Done
    }

    /// Emits text up to the next action; `Done` at the end of the input or at an error.
    fn text(&mut self) -> Step {
        loop {
            let Some(x) = self.rest().find(LEFT) else {
                self.pos = self.input.len();
                self.emit_text();
                self.emit(Kind::Eof);
                return Step::Done;
            };
            let delim = self.pos + x;
            let after = delim + LEFT.len();
            let trims = self.input[after..].starts_with('-')
                && self.input[after + 1..].chars().next().is_some_and(is_space);
            let text = &self.input[self.start..delim];
            let kept = if trims { text.trim_end_matches(is_space) } else { text };
            self.pos = self.start + kept.len();
            self.emit_text();
            self.pos = delim;
            self.skip();
            let marker = if trims { TRIM_MARKER } else { 0 };
            if !self.input[after + marker..].starts_with("/*") {
                return self.left_delim(marker);
            }
            if self.comment(after + marker) == Step::Done {
                return Step::Done;
            }
        }
    }

    fn emit_text(&mut self) {
        if self.pos > self.start {
            self.emit(Kind::Text);
        }
    }

    fn left_delim(&mut self, marker: usize) -> Step {
        self.pos += LEFT.len();
        self.emit(Kind::LeftDelim);
        self.pos += marker;
        self.skip();
        self.parens = 0;
        Step::More
    }

    fn comment(&mut self, opening: usize) -> Step {
        self.pos = opening + 2;
        let Some(x) = self.rest().find("*/") else {
            return self.error("unclosed comment".to_owned());
        };
        self.pos += x + 2;
        let Some(trims) = self.at_right_delim() else {
            return self.error("comment ends before closing delimiter".to_owned());
        };
        self.close(trims);
        self.skip();
        Step::More
    }

    /// Whether a right delimiter is next, and if so whether it trims what follows.
    fn at_right_delim(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_trim_marker(rest) && rest[TRIM_MARKER..].starts_with(RIGHT) {
            return Some(true);
        }
        rest.starts_with(RIGHT).then_some(false)
    }

    /// Moves past a right delimiter and what it trims.
    fn close(&mut self, trims: bool) {
        self.pos += if trims { TRIM_MARKER } else { 0 } + RIGHT.len();
        if trims {
            let rest = self.rest();
            self.pos += rest.len() - rest.trim_start_matches(is_space).len();
        }
    }

    fn right_delim(&mut self, trims: bool) -> Step {
        if trims {
            self.pos += TRIM_MARKER;
            self.skip();
        }
        self.pos += RIGHT.len();
        self.emit(Kind::RightDelim);
        if trims {
            let rest = self.rest();
            self.pos += rest.len() - rest.trim_start_matches(is_space).len();
            self.skip();
        }
        Step::Done
    }

    fn inside_action(&mut self) -> Step {
        if let Some(trims) = self.at_right_delim() {
            if self.parens > 0 {
                return self.error("unclosed left paren".to_owned());
            }
            return self.right_delim(trims);
        }
        let Some(c) = self.next() else {
            return self.error("unclosed action".to_owned());
        };
        match c {
            c if is_space(c) => self.space(),
            '=' => self.emit(Kind::Assign),
            ':' if self.next() == Some('=') => self.emit(Kind::Declare),
            ':' => self.error("expected :=".to_owned()),
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '`' => self.raw_string(),
            '$' => self.field_or_variable(Kind::Variable),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                self.field_or_variable(Kind::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.pos = self.start;
                self.number()
            }
            c if is_alphanumeric(c) => self.identifier(),
            '(' => {
                self.parens += 1;
                self.emit(Kind::LeftParen)
            }
            ')' if self.parens == 0 => self.error("unexpected right paren".to_owned()),
            ')' => {
                self.parens -= 1;
                self.emit(Kind::RightParen)
            }
            c if c.is_ascii_graphic() => self.emit(Kind::Char),
            c => self.error(format!(
                "unrecognized character in action: {}",
                super::literal::unicode_name(c)
            )),
        }
    }

    /// The space before a trimming right delimiter belongs to the delimiter.
    fn space(&mut self) -> Step {
        while self.peek().is_some_and(is_space) {
            self.pos += 1;
        }
        self.pos -= 1;
        if self.at_right_delim() != Some(true) {
            self.pos += 1;
        } else if self.pos == self.start {
            return self.right_delim(true);
        }
        self.emit(Kind::Space)
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Step {
        loop {
            match self.next() {
                Some('\\') if !matches!(self.peek(), None | Some('\n')) => {
                    self.next();
                }
                None | Some('\\' | '\n') => return self.error(unterminated.to_owned()),
                Some(c) if c == quote => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    fn raw_string(&mut self) -> Step {
        let Some(x) = self.rest().find('`') else {
            return self.error("unterminated raw quoted string".to_owned());
        };
        self.pos += x + 1;
        self.emit(Kind::RawString)
    }

    /// A dot or a dollar has been read; alphanumerics may follow.
    fn field_or_variable(&mut self, kind: Kind) -> Step {
        if self.at_terminator() {
            let bare = if kind == Kind::Variable { Kind::Variable } else { Kind::Dot };
            return self.emit(bare);
        }
        self.word();
        if !self.at_terminator() {
            return self.bad_character();
        }
        self.emit(kind)
    }

    fn word(&mut self) {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
    }

    fn bad_character(&mut self) -> Step {
        let c = self.peek().unwrap_or('\u{fffd}');
        self.error(format!("bad character {}", super::literal::unicode_name(c)))
    }

    /// Whether what is next may follow a word.
    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(c) => is_space(c) || self.rest().starts_with(RIGHT),
        }
    }

    fn identifier(&mut self) -> Step {
        self.word();
        if !self.at_terminator() {
            return self.bad_character();
        }
        let kind = match &self.input[self.start..self.pos] {
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            word => keyword(word).map_or(Kind::Identifier, Kind::Keyword),
        };
        self.emit(kind)
    }

    fn number(&mut self) -> Step {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = match digits.len() {
            11 => self.accept("eE"),
            23 => self.accept("pP"),
            _ => false,
        };
        if exponent {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            let text = &self.input[self.start..self.pos];
            return self.error(format!("bad number syntax: {}", super::literal::quote(text)));
        }
        self.emit(Kind::Number)
    }

    fn accept(&mut self, set: &str) -> bool {
        let found = self.peek().is_some_and(|c| set.contains(c));
        self.pos += usize::from(found);
        found
    }

    fn accept_run(&mut self, set: &str) {
        while self.accept(set) {}
    }
}

fn keyword(word: &str) -> Option<Keyword> {
    Some(match word {
        "block" => Keyword::Block,
        "break" => Keyword::Break,
        "continue" => Keyword::Continue,
        "define" => Keyword::Define,
        "else" => Keyword::Else,
        "end" => Keyword::End,
        "if" => Keyword::If,
        "range" => Keyword::Range,
        "template" => Keyword::Template,
        "with" => Keyword::With,
        _ => return None,
    })
}
