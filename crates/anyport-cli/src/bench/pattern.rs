//! What goes over the wire: one table of bytes, read cyclically by every connection, and the order
//! of message lengths, read the same way.
//!
//! Each connection starts at a place of its own, so that a byte lost, doubled, reordered or taken
//! from another connection shows. With frames, the table is a row of whole frames and a connection
//! starts at the head of one. No I/O; called by `steady` and `churn`.

use super::sizes::SizeMix;
use crate::header::{HEADER_LEN, PacketHeader, STALLED_BIT, STALLED_BYTE};

/// The table can be read this far from any position without wrapping, in bytes; so it is also the
/// most that one receive may take.
pub(crate) const RUN_LEN: usize = 256 * 1024;

/// Period of the raw table: a prime, so that no message size falls into step with it.
const RAW_PERIOD: usize = 65_521;

/// Frames are given about this many bytes of table, within the bounds on their number; frames of
/// several sizes more, so that each has its share.
const FRAMES_LEN: usize = 4 * 1024 * 1024;
const MIXED_FRAMES_LEN: usize = 32 * 1024 * 1024;

/// Messages after which a mix of sizes, or a row of frames, begins again at most.
const MESSAGES_MAX: usize = 4093;

/// Prime, and above `MESSAGES_MAX`, so that neighbouring connections spread over all places.
const STRIDE: u64 = 7919;

/// The bytes and message lengths of all connections.
pub(crate) struct Pattern {
    /// `period` bytes, then the first ones again until `RUN_LEN` more are there.
    table: Vec<u8>,
    period: usize,
    /// The messages in their order, cyclically; never empty.
    messages: Vec<Message>,
    payload_share: f64,
    is_framed: bool,
}

/// One message of the order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// Bytes on the wire, the header included.
    pub(crate) len: u32,
    /// Which size of the mix it has.
    pub(crate) part: u16,
    /// Where its frame begins in the table; raw messages begin anywhere.
    start: u32,
}

/// Where a connection starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its first byte, as a position in the pattern.
    pub(crate) position: u64,
    /// Its first message.
    pub(crate) message: u32,
}

impl Pattern {
    /// Messages of `sizes` payload bytes, each behind a header when `is_framed`.
    pub(crate) fn new(sizes: &SizeMix, is_framed: bool) -> Self {
        let header_len = if is_framed { HEADER_LEN } else { 0 };
        let count = match (is_framed, sizes.is_mixed()) {
            (false, false) => 1,
            (false, true) => MESSAGES_MAX,
            (true, is_mixed) => {
                let len = if is_mixed { MIXED_FRAMES_LEN } else { FRAMES_LEN };
                (len / (sizes.mean() as usize + HEADER_LEN)).clamp(3, MESSAGES_MAX)
            }
        };
        let mut wire_total = 0;
        let mut messages = Vec::with_capacity(count);
        for part in sizes.order(count) {
            let size = sizes.parts()[usize::from(part)].size;
            let len = u32::try_from(size + header_len).unwrap_or(u32::MAX);
            // Only frames look at it, and their table is far below 4 GiB.
            let start = if is_framed { wire_total as u32 } else { 0 };
            messages.push(Message { len, part, start });
            wire_total += u64::from(len);
        }
        let payload_share = 1.0 - (messages.len() * header_len) as f64 / wire_total as f64;
        let period = if is_framed { wire_total as usize } else { RAW_PERIOD };
        let mut table = random_bytes(period);
        if is_framed {
            for (command_type, message) in (0..).zip(&messages) {
                let data_length = message.len - HEADER_LEN as u32;
                let header = PacketHeader { data_length, command_type };
                let start = message.start as usize;
                table[start..start + HEADER_LEN].copy_from_slice(&header.encode());
            }
        }
        while table.len() < period + RUN_LEN {
            let more = (period + RUN_LEN - table.len()).min(period);
            table.extend_from_within(..more);
        }
        Self { table, period, messages, payload_share, is_framed }
    }

    /// Message number `number` of the order; 0 is right for any pattern.
    pub(crate) fn message(&self, number: u32) -> Message {
        self.messages[number as usize]
    }

    /// The message that follows message `number`.
    pub(crate) fn next(&self, number: u32) -> u32 {
        if number as usize + 1 == self.messages.len() { 0 } else { number + 1 }
    }

    /// The part of the wire bytes that is payload, from 0 to 1.
    pub(crate) fn payload_share(&self) -> f64 {
        self.payload_share
    }

    /// Where connection number `index` starts.
    pub(crate) fn place(&self, index: usize) -> Place {
        let spread = (index as u64).wrapping_mul(STRIDE);
        let message = (spread % self.messages.len() as u64) as u32;
        let position = match self.is_framed {
            true => u64::from(self.message(message).start),
            false => spread % self.period as u64,
        };
        Place { position, message }
    }

    /// The bytes from `position` on: at least `RUN_LEN` of them.
    pub(crate) fn from(&self, position: u64) -> &[u8] {
        &self.table[(position % self.period as u64) as usize..]
    }

    /// How many bytes of `got` differ from those at `position`. At most `RUN_LEN` bytes at once.
    /// `in_message` bytes of the message `number` came before: the mark of a stall is no
    /// difference.
    pub(crate) fn count_wrong(
        &self,
        position: u64,
        got: &[u8],
        number: u32,
        in_message: u32,
    ) -> u64 {
        let expected = &self.from(position)[..got.len()];
        if expected == got {
            return 0;
        }
        let differing = expected.iter().zip(got).filter(|(expected, got)| expected != got);
        differing.count() as u64 - self.count_marks(expected, got, number, in_message)
    }

    /// How many bytes differ by the mark of a stall alone.
    fn count_marks(&self, expected: &[u8], got: &[u8], mut number: u32, in_message: u32) -> u64 {
        let mut marks = 0;
        let mut at = STALLED_BYTE as i64 - i64::from(in_message);
        while self.is_framed && at < got.len() as i64 {
            if let Ok(at) = usize::try_from(at) {
                marks +=
                    u64::from(expected[at] | STALLED_BIT == got[at] && expected[at] != got[at]);
            }
            at += i64::from(self.message(number).len);
            number = self.next(number);
        }
        marks
    }
}

/// Bytes without a pattern (xorshift); the same ones each time.
fn random_bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(sizes: &str, is_framed: bool) -> Pattern {
        Pattern::new(&SizeMix::parse(sizes).expect("sizes"), is_framed)
    }

    #[test]
    fn frames_follow_each_other_through_the_end_of_the_table() {
        for sizes in ["100", "10:5,1000,3k:2"] {
            let pattern = pattern(sizes, true);
            let Place { mut position, mut message } = pattern.place(pattern.messages.len() - 2);
            for _ in 0..2 * pattern.messages.len() {
                let header = PacketHeader::decode(pattern.from(position)).expect("a header");
                let len = pattern.message(message).len;
                assert_eq!(header.data_length + HEADER_LEN as u32, len);
                position += u64::from(len);
                message = pattern.next(message);
            }
        }
    }

    #[test]
    fn neighbouring_connections_send_different_bytes() {
        for is_framed in [false, true] {
            let pattern = pattern("64", is_framed);
            let first = pattern.from(pattern.place(0).position)[..64 + HEADER_LEN].to_vec();
            for index in 1..1000 {
                let at = pattern.place(index).position;
                assert!(pattern.count_wrong(at, &first, 0, 0) > 0, "{index}");
            }
        }
    }

    #[test]
    fn a_single_flipped_bit_is_one_wrong_byte() {
        for is_framed in [false, true] {
            let pattern = pattern("64", is_framed);
            let mut got = pattern.from(0)[..1000].to_vec();
            assert_eq!(pattern.count_wrong(0, &got, 0, 0), 0);
            got[500] ^= 4;
            assert_eq!(pattern.count_wrong(0, &got, 0, 0), 1);
        }
    }

    #[test]
    fn a_lost_byte_shifts_all_that_follow() {
        let pattern = pattern("64", false);
        let mut got = pattern.from(0)[..2000].to_vec();
        got.remove(10);
        assert!(pattern.count_wrong(0, &got, 0, 0) > 1900);
    }

    #[test]
    fn the_mark_of_a_stall_is_no_wrong_byte_but_any_other_bit_is() {
        let pattern = pattern("20:1,50:1", true);
        let first = pattern.message(0).len as usize;
        for split in [0, 3, 7, 8, first] {
            let mut got = pattern.from(0)[..first + 30].to_vec();
            for head in [0, first] {
                got[head + STALLED_BYTE] |= STALLED_BIT;
            }
            let number = if split == first { 1 } else { 0 };
            let in_message = if split == first { 0 } else { split as u32 };
            let at = split as u64;
            assert_eq!(pattern.count_wrong(at, &got[split..], number, in_message), 0, "{split}");
            got[first + STALLED_BYTE] ^= 1;
            assert_eq!(pattern.count_wrong(at, &got[split..], number, in_message), 1, "{split}");
        }
    }

    #[test]
    fn payload_is_what_is_left_without_headers() {
        assert!((pattern("64", true).payload_share() - 64.0 / 72.0).abs() < 1e-9);
        assert!((pattern("64", false).payload_share() - 1.0).abs() < 1e-9);
    }
}
