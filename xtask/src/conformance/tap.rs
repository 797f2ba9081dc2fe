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

/// Adds the cases of a file. Cases that were planned and not reached, since the file was ended, fail.
pub(super) fn add(cases: &mut Cases, file: &str, output: &str) {
    let (mut planned, mut seen) = (0, 0);
    for line in output.lines().map(str::trim_end) {
        if let Some(count) = line.strip_prefix("1..").and_then(|count| count.parse().ok()) {
            planned = count;
        }
        let Some((verdict, rest)) = result(line) else { continue };
        seen += 1;
        let name = rest.split(" # ").next().unwrap_or_default().trim();
        cases.insert(format!("{file}: {name}"), verdict);
    }
    for number in seen + 1..=planned {
        cases.insert(format!("{file}: {number} (not reached)"), Verdict::Fails);
    }
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
        _ if lower.contains("# skip") => Verdict::Skipped,
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
        let mut cases = Cases::new();
        let text =
            "1..5\r\nok 1 a b\r\nnot ok 2 - c\n# why\nok 3 d # skip (no e)\nok, then\nok 4 - f\n";
        add(&mut cases, "x", text);
        let all: Vec<_> = cases.iter().map(|(name, verdict)| (name.as_str(), *verdict)).collect();
        let expected = [
            ("x: 5 (not reached)", Verdict::Fails),
            ("x: a b", Verdict::Passes),
            ("x: c", Verdict::Fails),
            ("x: d", Verdict::Skipped),
            ("x: f", Verdict::Passes),
        ];
        assert_eq!(all, expected);
    }
}
