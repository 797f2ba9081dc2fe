//! Truth values as Docker's clients write them.

/// What Go takes for a boolean (`strconv.ParseBool`).
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::boolean;

    #[test]
    fn booleans_are_written_in_six_ways_each() {
        for (value, words) in [
            (true, ["1", "t", "T", "true", "TRUE", "True"]),
            (false, ["0", "f", "F", "false", "FALSE", "False"]),
        ] {
            for word in words {
                assert_eq!(boolean(word), Some(value), "{word}");
            }
        }
        for word in ["", "tRUE", "yes", "on", "2", " true", "true "] {
            assert_eq!(boolean(word), None, "{word}");
        }
    }
}
