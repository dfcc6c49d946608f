//! Stalls on purpose: every N-th message of the process blocks its handler, or burns its core.
//!
//! Shows who else has to wait. The models call it for each message, in the handler; the echo stays
//! right, but that the frame of a stalled message carries a mark, so that a client can tell those
//! messages from the ones that had to wait for them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::args::StallKind;
use crate::header::{HEADER_LEN, PacketHeader, STALLED_BIT, STALLED_BYTE};

/// When to stall, how and for how long.
pub(super) struct Stall {
    /// Zero: never.
    every: u64,
    lasting: Duration,
    kind: StallKind,
    /// How many handlers may stall at once.
    max: u64,
    /// Messages so far.
    messages: AtomicU64,
    /// Handlers that stall now.
    stalling: AtomicU64,
}

impl Stall {
    /// Stalls for `lasting` at every `every`-th message; 0: never. A turn that comes while `max`
    /// handlers stall is left out; 0: none is.
    pub(super) fn new(every: u64, lasting: Duration, kind: StallKind, max: u64) -> Self {
        let max = if max == 0 { u64::MAX } else { max };
        Self { every, lasting, kind, max, messages: AtomicU64::new(0), stalling: AtomicU64::new(0) }
    }

    /// Counts `messages` more and stalls for each of them whose turn it is.
    pub(super) fn on_messages(&self, messages: u64) {
        if let Some(due) = self.due(messages) {
            for _ in due {
                if let Some(place) = self.place() {
                    self.stall(place);
                }
            }
        }
    }

    /// Counts the whole frames that are in `bytes`, marks those whose turn it is, and stalls for
    /// each of them.
    pub(super) fn on_frames(&self, frames: u64, bytes: &mut [u8]) {
        let Some(due) = self.due(frames) else {
            return;
        };
        let (mut at, mut number) = (0, 0);
        for turn in due {
            // On to the frame whose turn it is; every header was seen whole before.
            while number < turn
                && let Some(header) = bytes.get(at..).and_then(PacketHeader::decode)
            {
                at += HEADER_LEN + header.data_length as usize;
                number += 1;
            }
            let Some(place) = self.place() else { continue };
            if let Some(mark) = bytes.get_mut(at + STALLED_BYTE) {
                *mark |= STALLED_BIT;
            }
            self.stall(place);
        }
    }

    /// A place among those that may stall at once.
    fn place(&self) -> Option<Place<'_>> {
        let place = Place(&self.stalling);
        (self.stalling.fetch_add(1, Relaxed) < self.max).then_some(place)
    }

    fn stall(&self, _place: Place<'_>) {
        match self.kind {
            StallKind::Sleep => std::thread::sleep(self.lasting),
            StallKind::Spin => {
                let start = Instant::now();
                while start.elapsed() < self.lasting {
                    std::hint::spin_loop();
                }
            }
        }
    }

    /// Which of the next `messages` are due, counted from 0; none when none is.
    fn due(&self, messages: u64) -> Option<impl Iterator<Item = u64>> {
        if self.every == 0 || messages == 0 {
            return None;
        }
        let before = self.messages.fetch_add(messages, Relaxed);
        let first = self.every - 1 - before % self.every;
        let step = usize::try_from(self.every).unwrap_or(usize::MAX);
        (first < messages).then(|| (first..messages).step_by(step))
    }
}

/// One of the handlers that stall; gone, another may.
struct Place<'a>(&'a AtomicU64);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::STALLED_FLAG;

    #[test]
    fn every_nth_message_is_due_however_they_come() {
        let stall = Stall::new(10, Duration::ZERO, StallKind::Sleep, 0);
        let due = |messages| stall.due(messages).map_or(Vec::new(), Iterator::collect);
        assert!(due(9).is_empty());
        assert_eq!(due(1), [0]);
        assert_eq!(due(25), [9, 19]);
        assert_eq!(due(5), [4]);
        assert!(due(0).is_empty());
    }

    #[test]
    fn only_the_frames_that_stall_are_marked() {
        let stall = Stall::new(3, Duration::ZERO, StallKind::Sleep, 0);
        let frames = |count: u32| -> Vec<u8> {
            let frame = |number: u32| {
                let header = PacketHeader { data_length: number, command_type: number };
                [header.encode().to_vec(), vec![0xFF; number as usize]].concat()
            };
            (0..count).flat_map(frame).collect()
        };
        let marked = |bytes: &[u8]| {
            let (mut at, mut marked) = (0, Vec::new());
            while let Some(header) = PacketHeader::decode(&bytes[at..]) {
                marked.push(header.command_type & STALLED_FLAG != 0);
                assert_eq!(header.command_type & !STALLED_FLAG, header.data_length);
                at += HEADER_LEN + header.data_length as usize;
            }
            marked
        };
        let mut bytes = frames(2);
        stall.on_frames(2, &mut bytes);
        assert_eq!(marked(&bytes), [false, false]);
        let mut bytes = frames(5);
        stall.on_frames(5, &mut bytes);
        assert_eq!(marked(&bytes), [true, false, false, true, false]);
    }

    #[test]
    fn no_more_stall_at_once_than_may() {
        let stall = Stall::new(1, Duration::MAX, StallKind::Sleep, 2);
        let places = [stall.place(), stall.place()];
        assert!(places.iter().all(Option::is_some));
        // Would sleep for ever.
        stall.on_messages(3);
        let mut frame = PacketHeader { data_length: 0, command_type: 0 }.encode();
        stall.on_frames(1, &mut frame);
        assert_eq!(frame[STALLED_BYTE] & STALLED_BIT, 0);
        drop(places);
        assert!(stall.place().is_some());
    }

    #[test]
    fn zero_means_never() {
        let stall = Stall::new(0, Duration::MAX, StallKind::Spin, 0);
        stall.on_messages(1_000_000);
    }

    #[test]
    fn a_spinning_stall_lasts_as_long_as_was_asked() {
        let stall = Stall::new(1, Duration::from_millis(2), StallKind::Spin, 0);
        let start = Instant::now();
        stall.on_messages(2);
        assert!(start.elapsed() >= Duration::from_millis(4));
    }
}
