//! The environment of a container's processes, from what the image and the user have said.
//!
//! Deciding only.

use std::collections::HashSet;

use model::container::Terminal;

use crate::resolve::{Resolved, variable_name};

/// Docker's `PATH` where neither user nor image gives one.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The last of each variable, where it stands: as Docker's runtime has it, also one without a value,
/// which takes the earlier ones away.
pub(crate) fn last_of_each(mut variables: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    variables.reverse();
    variables.retain(|variable| seen.insert(variable_name(variable).to_owned()));
    variables.reverse();
    variables
}

/// In Docker's order: the standard variables with what the user or the image has put in their
/// places, the others, `HOME`. The standard ones that nobody has set or taken away are the
/// process's alone: inspect does not show them.
pub(crate) fn environment(resolved: &Resolved, home: &str, terminal: &Terminal) -> Vec<String> {
    let given = last_of_each(resolved.env.clone());
    let standard = |name: &str, value: &str| -> Option<String> {
        let given = given.iter().find(|variable| variable_name(variable) == name);
        match given {
            None => Some(format!("{name}={value}")),
            // Without a value it was taken away.
            Some(given) => given.contains('=').then(|| given.clone()),
        }
    };
    let mut first = vec![("PATH", DEFAULT_PATH), ("HOSTNAME", resolved.hostname.as_str())];
    match terminal {
        Terminal::None => {}
        Terminal::Pty { .. } => first.push(("TERM", "xterm")),
    }
    let is_first =
        |variable: &&String| first.iter().any(|(name, _)| variable_name(variable) == *name);
    let others = given.iter().filter(|v| v.contains('=') && !is_first(v)).cloned();
    let mut all: Vec<String> =
        first.iter().filter_map(|(name, value)| standard(name, value)).chain(others).collect();
    if !given.iter().any(|variable| variable.starts_with("HOME=")) {
        all.push(format!("HOME={home}"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_variable_counts_where_it_stands() {
        let variables = ["A=1", "B=2", "A", "C=", "B=3"].map(str::to_owned).to_vec();
        assert_eq!(last_of_each(variables), ["A", "C=", "B=3"]);
    }
}
