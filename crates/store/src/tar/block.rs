//! The 512-byte header block: where its fields are, and its checksum.
//!
//! Pure. Knows three dialects that differ in what follows the first 257 bytes.

use super::BLOCK;

/// Which fields a header has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Before POSIX: no devices, no prefix.
    V7,
    /// POSIX: a prefix of 155 bytes, which is the front of the name.
    Ustar,
    /// POSIX with star's trailer: the prefix has 131 bytes, times follow.
    Star,
    /// GNU: devices, no prefix; sparse maps where the prefix would be.
    Gnu,
}

/// A header block.
#[derive(Debug, Clone)]
pub(super) struct Header(pub(super) [u8; BLOCK]);

impl Header {
    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|&byte| byte == 0)
    }

    /// True if the stored checksum is that of the block. Old Suns summed signed bytes.
    pub(super) fn checksum_matches(&self) -> bool {
        let Some(stored) = super::number::parse(&self.0[148..156]) else { return false };
        let (unsigned, signed) = self.sums();
        stored == unsigned || stored == signed
    }

    fn sums(&self) -> (i64, i64) {
        let blank = i64::from(b' ') * 8;
        let rest = || self.0[..148].iter().chain(&self.0[156..]);
        let unsigned: i64 = rest().map(|&byte| i64::from(byte)).sum();
        let signed: i64 = rest().map(|&byte| i64::from(byte.cast_signed())).sum();
        (unsigned + blank, signed + blank)
    }

    /// Writes the checksum; the last thing to do with a header.
    pub(super) fn seal(&mut self) {
        let (sum, _) = self.sums();
        let sum = u64::try_from(sum).unwrap_or(0);
        // Six digits, NUL, space, as POSIX writers have it. The largest sum has six digits.
        let _ = super::number::write_octal(&mut self.0[148..155], sum);
        self.0[155] = b' ';
    }

    pub(super) fn dialect(&self) -> Dialect {
        match &self.0[257..265] {
            [b'u', b's', b't', b'a', b'r', b' ', b' ', 0] => Dialect::Gnu,
            [b'u', b's', b't', b'a', b'r', 0, ..] if &self.0[508..512] == b"tar\0" => Dialect::Star,
            [b'u', b's', b't', b'a', b'r', 0, ..] => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    pub(super) fn name(&self) -> &[u8] {
        until_nul(&self.0[..100])
    }

    /// The front of a long name, to be joined with a slash; empty if there is none.
    pub(super) fn prefix(&self) -> &[u8] {
        match self.dialect() {
            Dialect::Ustar => until_nul(&self.0[345..500]),
            Dialect::Star => until_nul(&self.0[345..476]),
            Dialect::V7 | Dialect::Gnu => b"",
        }
    }

    pub(super) fn link(&self) -> &[u8] {
        until_nul(&self.0[157..257])
    }

    pub(super) fn mode(&self) -> &[u8] {
        &self.0[100..108]
    }

    pub(super) fn uid(&self) -> &[u8] {
        &self.0[108..116]
    }

    pub(super) fn gid(&self) -> &[u8] {
        &self.0[116..124]
    }

    pub(super) fn size(&self) -> &[u8] {
        &self.0[124..136]
    }

    pub(super) fn mtime(&self) -> &[u8] {
        &self.0[136..148]
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// Major and minor number; V7 has none.
    pub(super) fn device(&self) -> Option<(&[u8], &[u8])> {
        (self.dialect() != Dialect::V7).then(|| (&self.0[329..337], &self.0[337..345]))
    }
}

/// A field up to its first NUL; a full field has none.
fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    &field[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_header_matches_until_a_byte_changes() {
        let mut header = Header([0; BLOCK]);
        header.0[..4].copy_from_slice(b"\xe9tc/");
        header.seal();
        assert!(header.checksum_matches());
        header.0[300] ^= 1;
        assert!(!header.checksum_matches());
    }

    #[test]
    fn signed_sums_are_accepted() {
        let mut header = Header([0; BLOCK]);
        header.0[0] = 0xe9;
        let (_, signed) = header.sums();
        let text = format!("{signed:06o}\0 ");
        header.0[148..156].copy_from_slice(text.as_bytes());
        assert!(header.checksum_matches());
    }
}
