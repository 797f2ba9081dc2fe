//! Maps of sparse files: GNU's old blocks, and the three PAX forms.
//!
//! Pure parsing and checking. A map that is not exact is refused: readers that repair maps repair
//! them differently.

use super::{BLOCK, Extent, MAX_EXTENTS, TarProblem, number};

/// What the PAX records of one entry say about holes.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    major: Option<u64>,
    minor: Option<u64>,
    /// `GNU.sparse.realsize`, or `GNU.sparse.size` in the 0.x forms.
    real_size: Option<u64>,
    /// The map of the 0.x forms.
    map: Vec<Extent>,
    /// The 0.0 form's offset, until its length comes.
    offset: Option<u64>,
    /// A map was given, perhaps an empty one.
    mapped: bool,
}

/// Which form a PAX entry's map has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PaxMap {
    /// In the header, already read.
    Given(Vec<Extent>),
    /// At the front of the data (form 1.0).
    InData,
}

impl PaxSparse {
    pub(super) fn clear(&mut self) {
        let mut map = std::mem::take(&mut self.map);
        map.clear();
        *self = Self { map, ..Self::default() };
    }

    /// Takes a record `GNU.sparse.` + `key`; the name is not one of these.
    pub(super) fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarProblem> {
        if key == b"map" {
            return self.read_map(value);
        }
        let number = number::decimal(value).ok_or(TarProblem::Sparse)?;
        match key {
            b"major" => self.major = Some(number),
            b"minor" => self.minor = Some(number),
            b"realsize" | b"size" => self.real_size = Some(number),
            b"numblocks" => self.mapped = true,
            b"offset" if self.offset.is_none() => self.offset = Some(number),
            b"numbytes" => {
                let offset = self.offset.take().ok_or(TarProblem::Sparse)?;
                self.push(Extent { offset, len: number })?;
            }
            _ => return Err(TarProblem::Sparse),
        }
        Ok(())
    }

    /// The 0.1 form: `offset,length,offset,length,…`; the last one counts.
    fn read_map(&mut self, text: &[u8]) -> Result<(), TarProblem> {
        self.map.clear();
        self.mapped = true;
        if text.is_empty() {
            return Ok(());
        }
        let mut numbers = text.split(|&byte| byte == b',').map(number::decimal);
        while let Some(offset) = numbers.next() {
            let (Some(offset), Some(Some(len))) = (offset, numbers.next()) else {
                return Err(TarProblem::Sparse);
            };
            self.push(Extent { offset, len })?;
        }
        Ok(())
    }

    fn push(&mut self, extent: Extent) -> Result<(), TarProblem> {
        if self.map.len() == MAX_EXTENTS {
            return Err(TarProblem::TooLarge("sparse map"));
        }
        self.map.push(extent);
        Ok(())
    }

    /// The real size and the map's form; `None` if nothing was said about holes.
    pub(super) fn take(&mut self) -> Result<Option<(u64, PaxMap)>, TarProblem> {
        let form = match (self.major, self.minor, self.mapped) {
            (None, None, false) => {
                return if self.real_size.is_none() && self.offset.is_none() {
                    Ok(None)
                } else {
                    Err(TarProblem::Sparse)
                };
            }
            (Some(1), Some(0), false) => PaxMap::InData,
            (None, None, true) | (Some(0), Some(0 | 1), _) => {
                PaxMap::Given(std::mem::take(&mut self.map))
            }
            _ => return Err(TarProblem::Sparse),
        };
        let size = self.real_size.ok_or(TarProblem::Sparse)?;
        Ok(Some((size, form)))
    }
}

/// Reads the extents of an old GNU header or continuation block: pairs of 12-byte fields. A pair of
/// empty fields ends the map.
pub(super) fn read_fields(fields: &[u8], map: &mut Vec<Extent>) -> Result<(), TarProblem> {
    for pair in fields.chunks_exact(24) {
        if pair[0] == 0 || pair[12] == 0 {
            break;
        }
        let offset = number::parse_unsigned(&pair[..12]).ok_or(TarProblem::Sparse)?;
        let len = number::parse_unsigned(&pair[12..]).ok_or(TarProblem::Sparse)?;
        if map.len() == MAX_EXTENTS {
            return Err(TarProblem::TooLarge("sparse map"));
        }
        map.push(Extent { offset, len });
    }
    Ok(())
}

/// Reads the map at the front of the data of form 1.0: decimal lines, fed block by block.
#[derive(Debug, Default)]
pub(super) struct DataMap {
    digits: Vec<u8>,
    /// How many numbers follow, once the first line has said so.
    expected: Option<usize>,
    numbers: Vec<u64>,
}

impl DataMap {
    /// Takes one block; true once the map is complete. The rest of the last block is padding.
    pub(super) fn feed(&mut self, block: &[u8; BLOCK]) -> Result<bool, TarProblem> {
        for &byte in block {
            if self.digits.len() > 19 {
                return Err(TarProblem::Sparse);
            }
            if byte != b'\n' {
                self.digits.push(byte);
                continue;
            }
            let number = number::decimal(&self.digits).ok_or(TarProblem::Sparse)?;
            self.digits.clear();
            if self.line(number)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn line(&mut self, number: u64) -> Result<bool, TarProblem> {
        let Some(expected) = self.expected else {
            let count = usize::try_from(number).ok().filter(|&count| count <= MAX_EXTENTS);
            let count = count.ok_or(TarProblem::TooLarge("sparse map"))?;
            self.expected = Some(count * 2);
            return Ok(count == 0);
        };
        self.numbers.push(number);
        Ok(self.numbers.len() == expected)
    }

    pub(super) fn extents(&self) -> Vec<Extent> {
        let pairs = self.numbers.chunks_exact(2);
        pairs.map(|pair| Extent { offset: pair[0], len: pair[1] }).collect()
    }
}

/// Writes the map of form 1.0, padded to whole blocks.
pub(super) fn write_data_map(map: &[Extent]) -> Vec<u8> {
    let mut text = format!("{}\n", map.len());
    for extent in map {
        text.push_str(&format!("{}\n{}\n", extent.offset, extent.len));
    }
    let mut data = text.into_bytes();
    data.resize(data.len().next_multiple_of(BLOCK), 0);
    data
}

/// Holds if the extents ascend, do not overlap, end within `size`, and have `stored` bytes in all.
pub(super) fn check(map: &[Extent], size: u64, stored: u64) -> Result<(), TarProblem> {
    let (mut end, mut sum) = (0u64, 0u64);
    for extent in map {
        let next = extent.offset.checked_add(extent.len).ok_or(TarProblem::Sparse)?;
        if extent.offset < end || next > size {
            return Err(TarProblem::Sparse);
        }
        end = next;
        sum += extent.len;
    }
    if sum == stored { Ok(()) } else { Err(TarProblem::Sparse) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, len: u64) -> Extent {
        Extent { offset, len }
    }

    #[test]
    fn maps_that_are_not_exact_are_refused() {
        assert!(check(&[extent(0, 5), extent(5, 5), extent(20, 0)], 20, 10).is_ok());
        assert!(check(&[extent(0, 5), extent(4, 5)], 20, 10).is_err());
        assert!(check(&[extent(10, 5), extent(0, 5)], 20, 10).is_err());
        assert!(check(&[extent(0, 21)], 20, 21).is_err());
        assert!(check(&[extent(u64::MAX, 2)], u64::MAX, 2).is_err());
        assert!(check(&[extent(0, 5)], 20, 6).is_err());
    }

    #[test]
    fn pax_forms() {
        let of = |records: &[(&str, &str)]| {
            let mut sparse = PaxSparse::default();
            for (key, value) in records {
                sparse.record(key.as_bytes(), value.as_bytes())?;
            }
            sparse.take()
        };
        let given = |map: &[Extent]| Some((9, PaxMap::Given(map.to_vec())));
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(
            of(&[("size", "9"), ("numblocks", "1"), ("offset", "1"), ("numbytes", "2")]).unwrap(),
            given(&[extent(1, 2)])
        );
        assert_eq!(
            of(&[("size", "9"), ("map", "1,2,3,4")]).unwrap(),
            given(&[extent(1, 2), extent(3, 4)])
        );
        assert_eq!(
            of(&[("major", "1"), ("minor", "0"), ("realsize", "9")]).unwrap(),
            Some((9, PaxMap::InData))
        );
        for bad in [
            &[("map", "1,2")][..],
            &[("size", "9"), ("map", "1,2,3")],
            &[("size", "9"), ("map", "1,,")],
            &[("size", "9"), ("numbytes", "3")],
            &[("size", "9"), ("offset", "3"), ("offset", "4")],
            &[("major", "2"), ("minor", "0"), ("realsize", "9")],
            &[("major", "1"), ("minor", "0")],
            &[("size", "-9")],
            &[("size", "9")],
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_map_in_the_data_comes_back() {
        let map: Vec<_> = (0..100).map(|n| extent(n * 1000, 10)).collect();
        let data = write_data_map(&map);
        let mut reader = DataMap::default();
        let mut blocks = data.chunks_exact(BLOCK);
        let done = blocks.by_ref().find(|b| reader.feed((*b).try_into().unwrap()).unwrap());
        assert!(done.is_some() && blocks.next().is_none());
        assert_eq!(reader.extents(), map);
    }

    #[test]
    fn a_map_that_announces_too_much_stops_at_once() {
        let mut block = [0; BLOCK];
        block[..8].copy_from_slice(b"9999999\n");
        assert!(DataMap::default().feed(&block).is_err());
        assert!(DataMap::default().feed(&[b'1'; BLOCK]).is_err());
    }
}
