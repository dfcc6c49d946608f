//! Finds whole frames in a stream of bytes, however it was split or merged on the way.
//!
//! No I/O. The bytes of frames that arrived whole are sent from where they are; only a frame that
//! spans receives is copied. Memory grows with the bytes that came, never with what a header
//! claims. The models call it.

use std::fmt;

use crate::header::{HEADER_LEN, PacketHeader};

/// The frames of one connection.
pub(super) struct FrameAssembler {
    payload_max: usize,
    /// The beginning of a frame whose end has not come yet; always starts at a header.
    pending: Vec<u8>,
}

/// What one piece of the stream brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frames {
    /// How many frames are whole now.
    pub(super) count: u64,
    /// Where their bytes are.
    pub(super) bytes: FrameBytes,
    /// The frame after them that cannot be taken: send these, then close.
    pub(super) too_long: Option<FrameTooLong>,
}

/// Where the bytes of whole frames are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FrameBytes {
    /// The first so many bytes of the piece; may be none.
    Prefix(usize),
    /// Here, joined from this piece and earlier ones.
    Joined(Vec<u8>),
}

/// A header that claims more than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameTooLong {
    /// What it claims, in payload bytes.
    payload_len: usize,
    payload_max: usize,
}

impl fmt::Display for FrameTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a frame of {} bytes is over the limit of {} (--frame-max)",
            self.payload_len, self.payload_max
        )
    }
}

impl FrameAssembler {
    /// Takes frames of at most `payload_max` payload bytes.
    pub(super) fn new(payload_max: usize) -> Self {
        Self { payload_max, pending: Vec::new() }
    }

    /// Takes the next piece of the stream. What does not end a frame is kept for the next piece.
    /// After `too_long` the stream is of no use any more.
    pub(super) fn push(&mut self, piece: &[u8]) -> Frames {
        if self.pending.is_empty() {
            let cut = cut(piece, self.payload_max);
            if cut.too_long.is_none() {
                self.pending.extend_from_slice(&piece[cut.whole_len..]);
            }
            let bytes = FrameBytes::Prefix(cut.whole_len);
            return Frames { count: cut.count, bytes, too_long: cut.too_long };
        }
        self.pending.extend_from_slice(piece);
        let cut = cut(&self.pending, self.payload_max);
        if cut.whole_len == 0 {
            return Frames { count: 0, bytes: FrameBytes::Prefix(0), too_long: cut.too_long };
        }
        let rest = self.pending.split_off(cut.whole_len);
        let whole = std::mem::replace(&mut self.pending, rest);
        Frames { count: cut.count, bytes: FrameBytes::Joined(whole), too_long: cut.too_long }
    }

    /// Whether the stream may end here: no frame has begun and not ended.
    pub(super) fn is_between_frames(&self) -> bool {
        self.pending.is_empty()
    }
}

struct Cut {
    whole_len: usize,
    count: u64,
    too_long: Option<FrameTooLong>,
}

fn cut(bytes: &[u8], payload_max: usize) -> Cut {
    let mut cut = Cut { whole_len: 0, count: 0, too_long: None };
    while let Some(header) = PacketHeader::decode(&bytes[cut.whole_len..]) {
        let payload_len = header.data_length as usize;
        if payload_len > payload_max {
            cut.too_long = Some(FrameTooLong { payload_len, payload_max });
            break;
        }
        let left = bytes.len() - cut.whole_len - HEADER_LEN;
        if left < payload_len {
            break;
        }
        cut.whole_len += HEADER_LEN + payload_len;
        cut.count += 1;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(command_type: u32, payload: &[u8]) -> Vec<u8> {
        let data_length = payload.len() as u32;
        let mut bytes = PacketHeader { data_length, command_type }.encode().to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    fn taken(assembler: &mut FrameAssembler, piece: &[u8]) -> (Vec<u8>, u64) {
        let frames = assembler.push(piece);
        assert_eq!(frames.too_long, None);
        let bytes = match frames.bytes {
            FrameBytes::Prefix(len) => piece[..len].to_vec(),
            FrameBytes::Joined(bytes) => bytes,
        };
        (bytes, frames.count)
    }

    fn three_frames() -> Vec<u8> {
        [frame(1, b"first"), frame(2, b""), frame(0xFFFF_FFFF, &[7; 40])].concat()
    }

    #[test]
    fn frames_come_out_the_same_wherever_the_stream_was_split() {
        let stream = three_frames();
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut assembler = FrameAssembler::new(40);
                let (mut out, mut count) = (Vec::new(), 0);
                for piece in [&stream[..first], &stream[first..second], &stream[second..]] {
                    let (bytes, frames) = taken(&mut assembler, piece);
                    assert!(bytes.is_empty() == (frames == 0), "only whole frames leave");
                    out.extend(bytes);
                    count += frames;
                }
                assert_eq!(out, stream, "split at {first} and {second}");
                assert_eq!(count, 3);
                assert!(assembler.is_between_frames());
            }
        }
    }

    #[test]
    fn frames_come_out_the_same_byte_by_byte() {
        let stream = three_frames();
        let mut assembler = FrameAssembler::new(40);
        let out: Vec<u8> =
            stream.iter().flat_map(|byte| taken(&mut assembler, &[*byte]).0).collect();
        assert_eq!(out, stream);
    }

    #[test]
    fn frames_that_arrive_whole_are_not_copied() {
        let stream = three_frames();
        let frames = FrameAssembler::new(40).push(&stream);
        assert_eq!(frames.bytes, FrameBytes::Prefix(stream.len()));
        assert_eq!(frames.count, 3);
    }

    #[test]
    fn frames_before_one_over_the_limit_are_still_given() {
        let stream = [frame(1, b"ok"), frame(2, &[0; 41])].concat();
        let frames = FrameAssembler::new(40).push(&stream);
        assert_eq!(frames.bytes, FrameBytes::Prefix(HEADER_LEN + 2));
        let too_long = frames.too_long.expect("over the limit").to_string();
        assert_eq!(too_long, "a frame of 41 bytes is over the limit of 40 (--frame-max)");
    }

    #[test]
    fn a_limit_is_seen_in_a_header_that_came_in_two_pieces() {
        let stream = frame(1, &[0; 41]);
        let mut assembler = FrameAssembler::new(40);
        assert_eq!(assembler.push(&stream[..3]).too_long, None);
        assert!(assembler.push(&stream[3..9]).too_long.is_some());
    }

    #[test]
    fn a_header_alone_reserves_no_memory_for_what_it_claims() {
        let mut assembler = FrameAssembler::new(1 << 30);
        let header = PacketHeader { data_length: 1 << 30, command_type: 0 }.encode();
        assert_eq!(taken(&mut assembler, &header).1, 0);
        assert!(assembler.pending.capacity() < 4096);
        assert!(!assembler.is_between_frames());
    }
}
