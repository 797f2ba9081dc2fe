//! Reads netlink attributes.
//!
//! Owns bounds: a length that does not fit ends the iteration. Unknown attributes are passed
//! over by whoever reads, so a newer kernel changes nothing.

/// The bits of an attribute's type that are flags (nested, network byte order).
const FLAGS: u16 = 0xc000;

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type without the flag bits.
    pub kind: u16,
    /// Its payload.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The attributes inside.
    #[must_use]
    pub fn nested(self) -> Attributes<'a> {
        Attributes(self.value)
    }

    /// A text up to its NUL, if it is UTF-8.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        std::str::from_utf8(self.value.get(..end)?).ok()
    }
}

/// A run of attributes.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes in `payload` behind a fixed header of `header` bytes.
    #[must_use]
    pub fn after(payload: &'a [u8], header: usize) -> Self {
        Self(payload.get(header..).unwrap_or_default())
    }

    /// The first attribute of this type.
    #[must_use]
    pub fn find(mut self, kind: u16) -> Option<Attribute<'a>> {
        self.by_ref().find(|attribute| attribute.kind == kind)
    }

    /// The first attribute of this type inside the first of `outer`.
    #[must_use]
    pub fn find_in(self, outer: u16, kind: u16) -> Option<Attribute<'a>> {
        self.find(outer)?.nested().find(kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (header, _) = self.0.split_first_chunk::<4>()?;
        let [l0, l1, k0, k1] = *header;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind: u16::from_ne_bytes([k0, k1]) & !FLAGS, value })
    }
}

/// A number in this machine's byte order, as route netlink has them.
#[must_use]
pub fn native_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// A number in network byte order, as netfilter has them.
#[must_use]
pub fn network_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Writer;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.text(3, "eth0");
        writer.nest(18, |inner| inner.native_u32(1, 7));
        let bytes = writer.finish().unwrap();
        let attributes = Attributes::after(&bytes, 0);
        assert_eq!(attributes.find(3).unwrap().text(), Some("eth0"));
        assert_eq!(attributes.find_in(18, 1).and_then(|a| native_u32(a.value)), Some(7));
    }

    #[test]
    fn a_length_beyond_the_end_stops_the_reading() {
        assert_eq!(Attributes::after(&[200, 0, 1, 0, 1, 2, 3, 4], 0).count(), 0);
        assert_eq!(Attributes::after(&[0, 0, 1, 0], 0).count(), 0);
        assert_eq!(Attributes::after(&[1, 2], 0).count(), 0);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let read: usize = Attributes::after(&bytes, 0).map(|a| a.value.len() + 4).sum();
            assert!(read <= bytes.len());
        }
    }
}
