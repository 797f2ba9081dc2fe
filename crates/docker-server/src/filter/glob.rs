//! Shell patterns over names, as Go's `path.Match` reads them. What they are applied to is the
//! filters' business.

use std::ops::RangeInclusive;

/// A pattern: `*`, `?`, `[a-z]`, `[^a-z]`, and `\\` before what is meant as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Any number of characters of one path segment.
    Star,
    /// One character of a path segment.
    Any,
    Literal(char),
    /// One character inside of these ranges.
    Inside(Vec<RangeInclusive<char>>),
    /// One character outside of these ranges, which may be a slash.
    Outside(Vec<RangeInclusive<char>>),
}

type Chars<'p> = std::iter::Peekable<std::str::Chars<'p>>;

impl Glob {
    /// `None` if the pattern is malformed.
    pub(super) fn parse(pattern: &str) -> Option<Self> {
        let mut chars = pattern.chars().peekable();
        let mut pieces = Vec::new();
        while let Some(char) = chars.next() {
            pieces.push(match char {
                '*' => Piece::Star,
                '?' => Piece::Any,
                '[' => class(&mut chars)?,
                '\\' => Piece::Literal(chars.next()?),
                other => Piece::Literal(other),
            });
        }
        Some(Self(pieces))
    }

    /// Whether the whole of `text` fits. Where a star does not fit, only the last one needs to take
    /// more: no more than quadratic work.
    pub(super) fn fits(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut p, mut t) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match (self.0.get(p), star) {
                (Some(Piece::Star), _) => {
                    star = Some((p, t));
                    p += 1;
                }
                (Some(piece), _) if piece.takes(text[t]) => {
                    p += 1;
                    t += 1;
                }
                (_, Some((at, taken))) if text[taken] != '/' => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                (_, _) => return false,
            }
        }
        self.0[p..].iter().all(|piece| *piece == Piece::Star)
    }
}

impl Piece {
    fn takes(&self, char: char) -> bool {
        let is_in = |ranges: &[RangeInclusive<char>]| ranges.iter().any(|r| r.contains(&char));
        match self {
            Self::Star => false,
            Self::Any => char != '/',
            Self::Literal(literal) => *literal == char,
            Self::Inside(ranges) => is_in(ranges),
            Self::Outside(ranges) => !is_in(ranges),
        }
    }
}

/// What follows an opening bracket: at least one character or range.
fn class(chars: &mut Chars<'_>) -> Option<Piece> {
    let is_negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
        let low = member(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { member(chars)? } else { low };
        ranges.push(low..=high);
    }
    Some(if is_negated { Piece::Outside(ranges) } else { Piece::Inside(ranges) })
}

fn member(chars: &mut Chars<'_>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        char => Some(char),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_go() {
        // The table of Go's own package, as far as it does not repeat itself.
        for (pattern, text, want) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a\u{263a}b", true),
            ("a???b", "a\u{263a}b", false),
            ("[a-\u{3b6}]*", "\u{3b1}", true),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "z", false),
            ("[\\-x]", "a", false),
            ("*x", "xxx", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Glob::parse(pattern).unwrap().fits(text), want, "{pattern} {text}");
        }
        for bad in ["[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\"]
        {
            assert_eq!(Glob::parse(bad), None, "{bad}");
        }
    }
}
