//! Names for containers that were given none: `adjective_surname`.
//!
//! Deciding only: the caller draws the random number and tries again when the name is taken.

/// How a ship, its crew or its weather may be.
const ADJECTIVES: [&str; 64] = [
    "able", "agile", "amber", "ample", "azure", "balmy", "bold", "brave", "bright", "brisk",
    "calm", "candid", "clear", "clever", "coastal", "copper", "coral", "daring", "deft", "eager",
    "easterly", "even", "fair", "fleet", "fond", "frank", "free", "gentle", "gilded", "glad",
    "golden", "hardy", "hearty", "honest", "humble", "ivory", "jolly", "keen", "kind", "lively",
    "loyal", "lucid", "mellow", "merry", "mighty", "nimble", "noble", "patient", "placid", "proud",
    "quick", "quiet", "ready", "salty", "serene", "silver", "sleek", "steady", "sturdy", "sunny",
    "swift", "tidy", "trusty", "windward",
];

/// Sailors, navigators, astronomers, shipwrights and others who found their way.
const SURNAMES: [&str; 64] = [
    "amundsen",
    "anning",
    "banks",
    "baret",
    "battuta",
    "beaufort",
    "biruni",
    "blackwell",
    "bowditch",
    "brahe",
    "bougainville",
    "cabot",
    "cannon",
    "cartier",
    "cassini",
    "cook",
    "curie",
    "dampier",
    "darwin",
    "earhart",
    "elcano",
    "eratosthenes",
    "erikson",
    "fibonacci",
    "fitzroy",
    "fleming",
    "galileo",
    "gama",
    "halley",
    "harrison",
    "herschel",
    "hevelius",
    "hopper",
    "hudson",
    "humboldt",
    "hypatia",
    "idrisi",
    "johnson",
    "kepler",
    "khayyam",
    "khwarizmi",
    "lovelace",
    "magellan",
    "majid",
    "maury",
    "meitner",
    "mercator",
    "mitchell",
    "nansen",
    "newton",
    "noether",
    "piri",
    "polo",
    "ptolemy",
    "pytheas",
    "ride",
    "scoresby",
    "shackleton",
    "slocum",
    "somerville",
    "tereshkova",
    "villiers",
    "vespucci",
    "zheng",
];

/// The name that a random number stands for, e.g. `steady_majid`.
#[must_use]
pub(crate) fn name(random: u32) -> String {
    let [adjective, surname, ..] = random.to_le_bytes();
    let (adjective, surname) = (usize::from(adjective) % 64, usize::from(surname) % 64);
    format!("{}_{}", ADJECTIVES[adjective], SURNAMES[surname])
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ContainerName;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_is_one_that_a_user_could_give() {
        let all: BTreeSet<String> = (0..=0xffff).map(name).collect();
        assert_eq!(all.len(), 64 * 64);
        assert!(all.iter().all(|name| name.parse::<ContainerName>().is_ok()));
    }
}
