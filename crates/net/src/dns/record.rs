//! What a container is called on one network, as a small text.
//!
//! Lines of `name NAME` and `address ADDRESS`; the first name is the container's own. Reading passes over what it
//! does not know, so that a newer program may write more.

use std::fmt::Write as _;
use std::net::IpAddr;

/// Longest name, as the DNS has it.
const MAX_NAME: usize = 253;
/// Most names of a container on one network.
pub const MAX_NAMES: usize = 256;
/// Longest text that is read.
pub const MAX_TEXT: u64 = 96 << 10;

/// A container on one network.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Record {
    /// The first is its own, the others are aliases.
    pub names: Vec<String>,
    /// At most one of each family, as a rule.
    pub addresses: Vec<IpAddr>,
}

impl Record {
    /// With names that are given more than once, or that no name can be, left out.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>, addresses: Vec<IpAddr>) -> Self {
        let mut record = Self { names: Vec::new(), addresses };
        for name in names.into_iter().filter(|name| is_name(name)) {
            let is_new = !record.names.iter().any(|known| known.eq_ignore_ascii_case(&name));
            if is_new && record.names.len() < MAX_NAMES {
                record.names.push(name);
            }
        }
        record
    }

    /// The text of the file.
    #[must_use]
    pub fn print(&self) -> String {
        let mut text = String::new();
        for name in &self.names {
            let _ = writeln!(text, "name {name}");
        }
        for address in &self.addresses {
            let _ = writeln!(text, "address {address}");
        }
        text
    }

    /// The record of a text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut names = Vec::new();
        let mut addresses = Vec::new();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("name", name)) => names.push(name.to_owned()),
                Some(("address", address)) => addresses.extend(address.parse::<IpAddr>()),
                Some(_) | None => {}
            }
        }
        Self::new(names, addresses)
    }
}

/// Whether a line can hold it, and a question ask for it.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_is_lines() {
        let names = ["web", "Web", "", "two words", "a\nname b", "alias"].map(str::to_owned);
        let addresses = vec!["172.18.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let record = Record::new(names, addresses);
        assert_eq!(record.print(), "name web\nname alias\naddress 172.18.0.2\naddress fd00::2\n");
        assert_eq!(Record::parse(&record.print()), record);
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let record = Record::parse("name web\nport 80\naddress nowhere\n\0\n");
        assert_eq!(record, Record::new(["web".to_owned()], Vec::new()));
    }

    proptest! {
        #[test]
        fn any_names_come_back(names in prop::collection::vec(".*", 0..400)) {
            let record = Record::new(names, Vec::new());
            prop_assert!(record.names.len() <= MAX_NAMES);
            prop_assert!(u64::try_from(record.print().len()).unwrap() < MAX_TEXT);
            prop_assert_eq!(Record::parse(&record.print()), record);
        }

        #[test]
        fn any_text_can_be_read(text in ".*") {
            let record = Record::parse(&text);
            prop_assert_eq!(Record::parse(&record.print()), record);
        }
    }
}
