//! Lists of processors and memory nodes, such as `0-3,7`.

use super::PlanError;

/// The numbers of a list, in order, each once. None may be `most` or more.
pub(super) fn numbers(
    field: &'static str,
    text: &str,
    most: usize,
) -> Result<Vec<usize>, PlanError> {
    let wrong = || PlanError::List { field, text: text.to_owned() };
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|n| *n < most);
        let (first, last) = number(first).zip(number(last)).ok_or_else(wrong)?;
        if first > last {
            return Err(wrong());
        }
        all.extend(first..=last);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_out() {
        assert_eq!(numbers("x", "3,0-1,1 , 7-7", 8).unwrap(), [0, 1, 3, 7]);
        assert_eq!(numbers("x", "", 8).unwrap(), [0_usize; 0]);
        for bad in ["8", "3-1", "a", "1-", "-1", "1-2-3"] {
            assert!(numbers("x", bad, 8).is_err(), "{bad}");
        }
    }
}
