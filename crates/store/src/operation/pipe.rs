//! From whoever pushes bytes to whoever pulls them: a bounded pipe between two threads.
//!
//! A download pushes (`PipeWriter`), an extractor pulls (`PipeReader`). An end that goes away without
//! a word is an error for the other, never the end of the data.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// The chunks that may wait.
const CHUNKS: usize = 16;

/// The end that pushes.
#[derive(Debug)]
pub struct PipeWriter {
    sender: SyncSender<Option<Vec<u8>>>,
}

/// The end that pulls.
#[derive(Debug)]
pub struct PipeReader {
    receiver: Receiver<Option<Vec<u8>>>,
    chunk: Vec<u8>,
    position: usize,
    ended: bool,
}

/// Makes a pipe.
#[must_use]
pub fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, receiver) = sync_channel(CHUNKS);
    (PipeWriter { sender }, PipeReader { receiver, chunk: Vec::new(), position: 0, ended: false })
}

impl PipeWriter {
    /// Hands a chunk over; waits while 16 others wait to be read.
    ///
    /// # Errors
    /// `BrokenPipe`: the reader is gone, and its thread knows why.
    pub fn push(&self, chunk: Vec<u8>) -> io::Result<()> {
        self.sender.send(Some(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Says that this was all.
    ///
    /// # Errors
    /// `BrokenPipe`, as with `push`.
    pub fn finish(self) -> io::Result<()> {
        self.sender.send(None).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.chunk.len() && !self.ended {
            match self.receiver.recv() {
                Ok(Some(chunk)) => (self.chunk, self.position) = (chunk, 0),
                Ok(None) => self.ended = true,
                Err(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let rest = &self.chunk[self.position..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.position += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_said_and_silence_is_an_error() {
        let (writer, mut reader) = pipe();
        writer.push(b"ab".to_vec()).unwrap();
        writer.push(Vec::new()).unwrap();
        writer.push(b"c".to_vec()).unwrap();
        writer.finish().unwrap();
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        assert_eq!(all, "abc");
        let (writer, mut reader) = pipe();
        writer.push(b"ab".to_vec()).unwrap();
        drop(writer);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        let (writer, reader) = pipe();
        drop(reader);
        assert_eq!(writer.push(Vec::new()).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
