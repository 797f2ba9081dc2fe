//! Text of strangers, made fit for a terminal. What is said around it is its users' business.

/// Longest text that is shown, in characters.
const SHOWN_MAX: usize = 300;

/// Without what could steer a terminal, and not endless.
#[must_use]
pub fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal_or_goes_on_for_ever() {
        assert_eq!(shown("no\n\u{1b}[31m\u{9b}way"), "no[31mway");
        assert_eq!(shown(&"ä".repeat(SHOWN_MAX + 1)), "ä".repeat(SHOWN_MAX));
    }
}
