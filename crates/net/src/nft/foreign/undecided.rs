//! What becomes of a packet that no rule speaks of, and where in the rules that is.
//!
//! Deciding only. A rule that depends on the packet speaks of some packets, and is taken not to speak of ours.

use super::{Act, Chains, Rule};

/// The kernel calls no deeper.
const DEEPEST: usize = 16;

/// What becomes of a packet that no rule speaks of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// A rule accepts it.
    Accepted,
    /// None does anything: the policy holds.
    Undecided,
    /// A rule refuses it: the calls that lead there, the outermost first.
    Refused(Vec<Place>),
}

/// A place among a chain's rules: before the one of this number. Rules of ours are not counted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub(super) chain: String,
    pub(super) index: usize,
}

/// The rules of a chain but ours.
pub(super) fn theirs<'a>(
    chains: &'a Chains,
    chain: &str,
) -> impl DoubleEndedIterator<Item = &'a Rule> {
    chains.get(chain).into_iter().flatten().filter(|rule| rule.own.is_none())
}

/// What becomes of it in a chain.
pub(super) fn fate(chains: &Chains, chain: &str) -> Fate {
    go(chains, chain, &mut Vec::new())
}

fn go(chains: &Chains, chain: &str, path: &mut Vec<Place>) -> Fate {
    if path.len() > DEEPEST {
        return Fate::Undecided;
    }
    for (index, rule) in theirs(chains, chain).enumerate() {
        path.push(Place { chain: chain.to_owned(), index });
        let fate = match &rule.act {
            Act::Refuses => Fate::Refused(path.clone()),
            Act::Accepts => Fate::Accepted,
            Act::Calls(called) => go(chains, called, path),
            Act::GoesTo(called) => {
                let fate = go(chains, called, path);
                path.pop();
                return fate;
            }
            Act::Returns | Act::Tells | Act::Depends => Fate::Undecided,
        };
        path.pop();
        if fate != Fate::Undecided || rule.act == Act::Returns {
            return fate;
        }
    }
    Fate::Undecided
}

/// Where a rule for such packets belongs: behind all that speaks of some, and before what refuses the rest or
/// writes that into a log. `drops`: that is what the chain's policy does. `None` where they pass.
pub(super) fn place(chains: &Chains, base: &str, drops: bool) -> Option<Place> {
    let mut path = match fate(chains, base) {
        Fate::Refused(path) => path,
        Fate::Undecided if drops => vec![end(chains, base, 0)],
        Fate::Undecided | Fate::Accepted => return None,
    };
    loop {
        let mut last = path.pop()?;
        last.index = before_logs(chains, &last);
        // A chain that only refuses, as ufw's, is as good as its caller's rule.
        if last.index > 0 || path.is_empty() {
            return Some(last);
        }
    }
}

/// Where a packet that no rule speaks of leaves the rules for the policy: at the end of the chain, or of the one
/// that it went to for good, or where it returns.
fn end(chains: &Chains, chain: &str, depth: usize) -> Place {
    let place = |index| Place { chain: chain.to_owned(), index };
    for (index, rule) in theirs(chains, chain).enumerate() {
        match &rule.act {
            Act::GoesTo(called) if depth < DEEPEST => return end(chains, called, depth + 1),
            Act::GoesTo(_) | Act::Returns => return place(index),
            Act::Refuses | Act::Accepts | Act::Calls(_) | Act::Tells | Act::Depends => {}
        }
    }
    place(theirs(chains, chain).count())
}

/// A log of what was refused would be wrong of what passes. An empty chain is room for rules, so it stays
/// before ours unless such a log is before it.
fn before_logs(chains: &Chains, place: &Place) -> usize {
    let rules: Vec<&Rule> = theirs(chains, &place.chain).take(place.index).collect();
    let idle = rules.iter().rev().take_while(|rule| is_idle(chains, rule, 0)).count();
    let start = rules.len() - idle;
    let logs = rules.iter().skip(start).position(|rule| logs(chains, rule, 0));
    logs.map_or(place.index, |first| start + first)
}

/// Whether a rule lets all packets go on, or refuses them all.
fn is_idle(chains: &Chains, rule: &Rule, depth: usize) -> bool {
    match &rule.act {
        Act::Tells | Act::Refuses => true,
        Act::Calls(called) if depth < DEEPEST => {
            theirs(chains, called).all(|rule| is_idle(chains, rule, depth + 1))
        }
        Act::Calls(_) | Act::GoesTo(_) | Act::Accepts | Act::Returns | Act::Depends => false,
    }
}

fn logs(chains: &Chains, rule: &Rule, depth: usize) -> bool {
    match &rule.act {
        Act::Tells => true,
        Act::Calls(called) if depth < DEEPEST => {
            theirs(chains, called).any(|rule| logs(chains, rule, depth + 1))
        }
        Act::Calls(_)
        | Act::GoesTo(_)
        | Act::Accepts
        | Act::Returns
        | Act::Depends
        | Act::Refuses => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chains as `name: rule rule …`: `no` refuses, `yes` accepts, `log`, `if` depends, `back` returns, `>x`
    /// calls x, `>>x` goes to it.
    fn chains(text: &str) -> Chains {
        let act = |word: &str| match word {
            "no" => Act::Refuses,
            "yes" => Act::Accepts,
            "log" => Act::Tells,
            "if" => Act::Depends,
            "back" => Act::Returns,
            other => match other.strip_prefix(">>") {
                Some(chain) => Act::GoesTo(chain.to_owned()),
                None => Act::Calls(other.trim_start_matches('>').to_owned()),
            },
        };
        let chain = |line: &str| {
            let (name, rules) = line.split_once(':').unwrap();
            let rule =
                |(handle, word)| Rule { handle, act: act(word), own: None, links: Vec::new() };
            (name.trim().to_owned(), (1..).zip(rules.split_whitespace()).map(rule).collect())
        };
        text.lines().filter(|line| line.contains(':')).map(chain).collect()
    }

    fn check(text: &str, drops: bool, expected: &str) {
        let place = place(&chains(text), "f", drops);
        let told = place.map_or("passes".to_owned(), |it| format!("{} {}", it.chain, it.index));
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn a_policy_is_the_end_of_the_chain() {
        check("f:", true, "f 0");
        check("f: if if", true, "f 2");
        check("f: if if", false, "passes");
        check("f: if yes", true, "passes");
        check("f: if >a if\na: if back yes", true, "f 3");
        check("f: >>a yes\na: if", true, "a 1");
        check("f: >>a\na: if back if", true, "a 1");
        check("f: if back if", true, "f 1");
    }

    #[test]
    fn a_rule_that_refuses_the_rest_is_the_end() {
        check("f: if no", false, "f 1");
        check("f: if no yes", true, "f 1");
        check("f: if no", true, "f 1");
        check("f: if >a yes\na: if no", false, "a 1");
        check("f: if >a yes\na: >>b no\nb: if", true, "passes");
    }

    #[test]
    fn logs_of_what_is_refused_come_behind() {
        check("f: if log", true, "f 1");
        check("f: if log no", false, "f 1");
        check("f: if >a >l >a no\nl: log\na:", false, "f 2");
        check("f: log if no", false, "f 2");
    }

    /// As `ufw enable` makes it, with the forward policies `drop` and `reject`.
    #[test]
    fn ufw() {
        for reject in ["", "no"] {
            let text = format!(
                "f: >before-logging >before >after >after-logging >reject >track
                 before-logging:
                 before: if if if if >user
                 user:
                 after:
                 after-logging: log
                 reject: {reject}
                 track:"
            );
            check(&text, true, "f 3");
        }
        check("f: >before >after >reject\nbefore: if\nafter:\nreject: no", true, "f 2");
    }

    /// The zone of all links that are in no other has the last word, not the chain at the hook.
    #[test]
    fn firewalld() {
        let text = "f: if if if if if >zones no
                    zones: if >>public
                    public: >pre >log >deny >allow >post no
                    pre:
                    log:
                    deny:
                    allow: if
                    post:";
        check(text, false, "public 5");
    }
}
