//! What goes over the wire: one table of bytes, read cyclically by every connection.
//!
//! Each connection starts at a place of its own, so that a byte lost, doubled, reordered or taken
//! from another connection shows. With frames, the table is a row of whole frames and a connection
//! starts at the head of one. No I/O; called by `generator` and `connect`.

use crate::header::{HEADER_LEN, PacketHeader};

/// The table can be read this far from any position without wrapping, in bytes; so it is also the
/// most that one receive may take.
pub(crate) const RUN_LEN: usize = 256 * 1024;

/// Period of the raw table: a prime, so that no message size falls into step with it.
const RAW_PERIOD: usize = 65_521;

/// Frames are given about this many bytes of table, within the bounds on their number.
const FRAMES_LEN: usize = 4 * 1024 * 1024;

/// Prime, and above the number of frames, so that neighbouring connections spread over all places.
const STRIDE: u64 = 7919;

/// The bytes of all connections.
pub(crate) struct Pattern {
    /// `period` bytes, then the first ones again until `RUN_LEN` more are there.
    table: Vec<u8>,
    period: usize,
    message_len: usize,
    /// Frames in a period; none when raw.
    frames: Option<u64>,
}

impl Pattern {
    /// Messages of `size` payload bytes, each behind a header when `framed`.
    pub(crate) fn new(size: usize, framed: bool) -> Self {
        let message_len = if framed { size + HEADER_LEN } else { size };
        let frames = framed.then(|| (FRAMES_LEN / message_len).clamp(3, 4093));
        let period = frames.map_or(RAW_PERIOD, |frames| frames * message_len);
        let mut table = random_bytes(period);
        if framed {
            for (place, frame) in (0..).zip(table.chunks_exact_mut(message_len)) {
                let data_length = u32::try_from(size).unwrap_or(u32::MAX);
                let header = PacketHeader { data_length, command_type: place };
                frame[..HEADER_LEN].copy_from_slice(&header.encode());
            }
        }
        while table.len() < period + RUN_LEN {
            let more = (period + RUN_LEN - table.len()).min(period);
            table.extend_from_within(..more);
        }
        Self { table, period, message_len, frames: frames.map(|frames| frames as u64) }
    }

    /// Bytes of one message on the wire, the header included.
    pub(crate) fn message_len(&self) -> usize {
        self.message_len
    }

    /// Where connection number `index` starts.
    pub(crate) fn base(&self, index: usize) -> u64 {
        let spread = (index as u64).wrapping_mul(STRIDE);
        match self.frames {
            Some(frames) => spread % frames * self.message_len as u64,
            None => spread % self.period as u64,
        }
    }

    /// The bytes from `position` on: at least `RUN_LEN` of them.
    pub(crate) fn from(&self, position: u64) -> &[u8] {
        &self.table[(position % self.period as u64) as usize..]
    }

    /// How many bytes of `got` differ from those at `position`. At most `RUN_LEN` bytes at once.
    pub(crate) fn count_wrong(&self, position: u64, got: &[u8]) -> u64 {
        let expected = &self.from(position)[..got.len()];
        if expected == got {
            return 0;
        }
        expected.iter().zip(got).filter(|(expected, got)| expected != got).count() as u64
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

    #[test]
    fn a_run_may_start_anywhere_and_wraps_around() {
        for (size, framed) in [(64, false), (1, true), (16_384, true), (3 << 20, true)] {
            let pattern = Pattern::new(size, framed);
            let period = pattern.period as u64;
            for position in [0, 1, period - 1, period, 7 * period + 3] {
                let run = &pattern.from(position)[..RUN_LEN];
                assert_eq!(pattern.count_wrong(position + period, run), 0);
            }
            assert_eq!(pattern.from(period - 1)[1], pattern.from(0)[0]);
        }
    }

    #[test]
    fn framed_connections_start_at_the_head_of_a_frame() {
        let pattern = Pattern::new(100, true);
        for index in 0..10_000 {
            let header = PacketHeader::decode(pattern.from(pattern.base(index))).expect("a header");
            assert_eq!(header.data_length, 100);
        }
    }

    #[test]
    fn neighbouring_connections_send_different_bytes() {
        for framed in [false, true] {
            let pattern = Pattern::new(64, framed);
            let first = &pattern.from(pattern.base(0))[..64 + HEADER_LEN];
            for index in 1..1000 {
                assert!(pattern.count_wrong(pattern.base(index), first) > 0, "{index}");
            }
        }
    }

    #[test]
    fn a_single_flipped_bit_is_one_wrong_byte() {
        let pattern = Pattern::new(64, false);
        let mut got = pattern.from(5)[..1000].to_vec();
        assert_eq!(pattern.count_wrong(5, &got), 0);
        got[500] ^= 4;
        assert_eq!(pattern.count_wrong(5, &got), 1);
    }

    #[test]
    fn a_lost_byte_shifts_all_that_follow() {
        let pattern = Pattern::new(64, false);
        let mut got = pattern.from(0)[..2000].to_vec();
        got.remove(10);
        assert!(pattern.count_wrong(0, &got) > 1900);
    }
}
