//! What a suite says in the Test Anything Protocol.

use std::collections::BTreeMap;

/// What became of one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Passes,
    Fails,
    /// The suite says that this host cannot show it.
    Skipped,
}

/// By name, which begins with that of the file.
pub(super) type Cases = BTreeMap<String, Verdict>;

/// The cases of a file. Those that were planned and not reached, since the file was ended, fail. If it planned none it
/// was ended before it could, and is a case by itself.
pub(super) fn cases(file: &str, output: &str) -> Cases {
    let mut cases = Cases::new();
    let (mut planned, mut seen) = (None, 0);
    for line in output.lines().map(str::trim_end) {
        if let Some(count) = line.strip_prefix("1..").and_then(|count| count.parse().ok()) {
            planned = Some(count);
        }
        let Some((verdict, rest)) = result(line) else { continue };
        seen += 1;
        // A name may have a `#` of its own: only words behind the last one are taken for why.
        let name = match verdict {
            Verdict::Skipped => rest.rsplit_once('#').map_or(rest, |(name, _)| name),
            Verdict::Passes | Verdict::Fails => timeless(rest),
        };
        let name = name.trim();
        cases.insert(format!("{file}: {name}"), verdict);
    }
    for number in seen + 1..=planned.unwrap_or(1) {
        cases.insert(format!("{file}: {number} (not reached)"), Verdict::Fails);
    }
    cases
}

/// In a few words.
pub(super) fn told(cases: &Cases) -> String {
    let count = |wanted| cases.values().filter(|verdict| **verdict == wanted).count();
    let (good, bad) = (count(Verdict::Passes), count(Verdict::Fails));
    format!("{good} pass, {bad} fail, {} are skipped", count(Verdict::Skipped))
}

/// A name without what bats says of a test that has taken too long.
fn timeless(name: &str) -> &str {
    name.split(" # timeout after ").next().unwrap_or_default()
}

/// `not ok 7 - text # skip why`: the verdict, and what comes behind the number.
fn result(line: &str) -> Option<(Verdict, &str)> {
    let (is_good, rest) = match line.strip_prefix("ok ") {
        Some(rest) => (true, rest),
        None => (false, line.strip_prefix("not ok ")?),
    };
    let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    number.parse::<u32>().ok()?;
    let lower = rest.to_lowercase();
    let verdict = match is_good {
        _ if lower.contains("# skip") || lower.contains("#skip") => Verdict::Skipped,
        true => Verdict::Passes,
        false => Verdict::Fails,
    };
    Some((verdict, rest.trim_start_matches("- ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_ended_fails_in_what_it_did_not_reach() {
        let text = "1..6\r\nok 1 a b\r\nnot ok 2 - c\n# why\nok 3 d # skip (no e)\nok, then\nok 4 - f\nok 5 - g #SKIP\n";
        let found = cases("x", text);
        let all: Vec<_> = found.iter().map(|(name, verdict)| (name.as_str(), *verdict)).collect();
        let expected = [
            ("x: 6 (not reached)", Verdict::Fails),
            ("x: a b", Verdict::Passes),
            ("x: c", Verdict::Fails),
            ("x: d", Verdict::Skipped),
            ("x: f", Verdict::Passes),
            ("x: g", Verdict::Skipped),
        ];
        assert_eq!(all, expected);
        assert_eq!(cases("x", "").into_iter().next().unwrap().1, Verdict::Fails);
        assert!(cases("x", "1..0\n").is_empty());
    }
}
