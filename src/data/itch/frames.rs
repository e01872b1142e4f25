//! The frames of a file: two bytes of length, big-endian, then as many bytes of one message.

use std::io::{self, BufRead, Read};

use super::message::{Bad, Message};

/// One frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Frame {
    Message(Message),
    /// To be skipped.
    Bad(Bad),
    /// The file ends inside it.
    Cut,
}

/// Reads frame by frame, and holds one.
pub(super) struct Frames<R> {
    reader: R,
    bytes: Vec<u8>,
    /// Where in the (unpacked) file the frame starts that was read last.
    pub offset: u64,
    next_offset: u64,
    /// Its number, from 1.
    pub number: u64,
}

impl<R: BufRead> Frames<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, bytes: Vec::with_capacity(64), offset: 0, next_offset: 0, number: 0 }
    }

    /// The next frame, or `None` where the file ends between two.
    pub fn next(&mut self) -> io::Result<Option<Frame>> {
        self.offset = self.next_offset;
        match self.fill(2)? {
            0 => return Ok(None),
            1 => return Ok(Some(Frame::Cut)),
            _ => self.number += 1,
        }
        let length = usize::from(u16::from_be_bytes([self.bytes[0], self.bytes[1]]));
        if self.fill(length)? < length {
            return Ok(Some(Frame::Cut));
        }
        Ok(Some(Message::read(&self.bytes).map_or_else(Frame::Bad, Frame::Message)))
    }

    /// The type byte of the frame that was read last.
    pub fn kind(&self) -> u8 {
        self.bytes.first().copied().unwrap_or(0)
    }

    fn fill(&mut self, length: usize) -> io::Result<usize> {
        self.bytes.clear();
        let read = self.reader.by_ref().take(length as u64).read_to_end(&mut self.bytes)?;
        self.next_offset += read as u64;
        Ok(read)
    }
}
