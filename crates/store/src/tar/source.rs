//! Reads from the source of an archive: whole blocks, or that it has ended.
//!
//! What a block means is not known here.

use std::io::{self, BufRead};

use super::{BLOCK, TarProblem};

/// Makes sure that the source's buffer holds something.
pub(super) fn fill(source: &mut impl BufRead) -> Result<(), TarProblem> {
    loop {
        match source.fill_buf() {
            Ok([]) => return Err(TarProblem::Truncated),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(TarProblem::Read(error)),
        }
    }
}

/// One block; `None` if the source ends right before it.
pub(super) fn read_block(source: &mut impl BufRead) -> Result<Option<[u8; BLOCK]>, TarProblem> {
    match fill(source) {
        Ok(()) => {}
        Err(TarProblem::Truncated) => return Ok(None),
        Err(problem) => return Err(problem),
    }
    let mut block = [0; BLOCK];
    read_exact(source, &mut block)?;
    Ok(Some(block))
}

pub(super) fn read_exact(source: &mut impl BufRead, out: &mut [u8]) -> Result<(), TarProblem> {
    source.read_exact(out).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            TarProblem::Truncated
        } else {
            TarProblem::Read(error)
        }
    })
}

pub(super) fn skip(source: &mut impl BufRead, len: u64) -> Result<(), TarProblem> {
    let mut left = len;
    while left > 0 {
        fill(source)?;
        let bytes = source.fill_buf().map_err(TarProblem::Read)?;
        let len = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        source.consume(len);
        left -= len as u64;
    }
    Ok(())
}
