//! Changes what a container publishes, at one instant.

use std::collections::BTreeSet;

use sys::Errno;

use super::element::{Element, PortRule, of_ports};
use super::message::Transaction;
use super::{Firewall, NftError, Source};
use crate::conntrack;

impl Firewall {
    /// Publishes what is new of a container, and takes back what it has no more; `old` and `new` are all that it
    /// has. What stays is not touched, so that nobody who comes meanwhile is refused.
    ///
    /// # Errors
    /// See [`NftError`].
    pub fn replace(
        &self,
        old: &[PortRule],
        new: &[PortRule],
        source: &mut Source<'_>,
    ) -> Result<(), NftError> {
        let mut transaction = Transaction::begin();
        for table in self.tables() {
            let (old, new) = (of_ports(old, table.family), of_ports(new, table.family));
            table.remove(&mut transaction, &but(&old, &new));
            table.add(&mut transaction, &but(&new, &old));
        }
        match transaction.commit(&self.socket) {
            Ok(()) => {}
            // Somebody has flushed the tables, or something else is in the way.
            Err(error)
                if matches!(error.refusal(), Some(Errno::NOENT | Errno::BUSY | Errno::EXIST)) =>
            {
                self.remove_where(old, Element::is_same_as)?;
                self.publish(new, source)?;
            }
            Err(error) => return Err(self.failed("replace ports in", error)),
        }
        let gone: Vec<PortRule> = old.iter().filter(|rule| !new.contains(rule)).copied().collect();
        // A range that has become two is published as before.
        self.forget(conntrack::to_containers(&self.socket, &gone, new))
    }
}

impl Element {
    /// Whether both lead to the same.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        key(self) == key(other)
    }
}

/// All of an element but its comment.
type Key<'a> = (&'static str, &'a [u8], Option<&'a [u8]>, Option<&'a [u8]>);

fn key(element: &Element) -> Key<'_> {
    (element.set, &element.key, element.end.as_deref(), element.data.as_deref())
}

/// Those elements that the others do not have.
fn but(elements: &[Element], others: &[Element]) -> Vec<Element> {
    let others: BTreeSet<Key<'_>> = others.iter().map(key).collect();
    elements.iter().filter(|element| !others.contains(&key(element))).cloned().collect()
}
