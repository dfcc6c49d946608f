//! The accounts of one connection: bytes owed, bytes sent, bytes and messages that came back.
//!
//! No I/O and no clock; one cache line, since there are thousands. Called by `steady`.

use std::ops::Range;

use super::pattern::{Pattern, Place};
use crate::header::{STALLED_BIT, STALLED_BYTE};

/// One connection of a steady load.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Where in the pattern it starts.
    base: u64,
    /// Bytes of all messages started so far.
    queued: u64,
    /// Bytes handed to the system; never above `queued`.
    sent: u64,
    /// Bytes that came back.
    received: u64,
    /// Messages that came back whole.
    answered: u64,
    /// The message that is started next, as the pattern counts them.
    next_to_queue: u32,
    /// The message that is coming back, and how many bytes of it have come.
    coming: u32,
    in_message: u32,
    /// Whether the header of that message says that its handler stalled.
    is_marked: bool,
}

/// A message that came back whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// How many came back on this connection before it.
    pub(crate) number: u64,
    /// Which size of the mix it has.
    pub(crate) part: u16,
    /// Whether the server says that its handler stalled.
    pub(crate) is_stalled: bool,
}

impl Connection {
    /// A connection that starts at `place` and owes nothing.
    pub(crate) fn new(place: Place) -> Self {
        Self {
            base: place.position,
            queued: 0,
            sent: 0,
            received: 0,
            answered: 0,
            next_to_queue: place.message,
            coming: place.message,
            in_message: 0,
            is_marked: false,
        }
    }

    /// Starts the next message.
    pub(crate) fn queue(&mut self, pattern: &Pattern) {
        self.queued += u64::from(pattern.message(self.next_to_queue).len);
        self.next_to_queue = pattern.next(self.next_to_queue);
    }

    /// Bytes started but not yet handed to the system.
    pub(crate) fn unsent(&self) -> u64 {
        self.queued - self.sent
    }

    /// Position in the pattern of the next byte to send.
    pub(crate) fn send_position(&self) -> u64 {
        self.base + self.sent
    }

    /// The system took `bytes`.
    pub(crate) fn on_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        debug_assert!(self.sent <= self.queued);
    }

    /// How many bytes of `got`, which is what came back next, are not what was sent.
    pub(crate) fn count_wrong(&self, pattern: &Pattern, got: &[u8]) -> u64 {
        pattern.count_wrong(self.base + self.received, got, self.coming, self.in_message)
    }

    /// `bytes` came back: how many of them were never sent.
    pub(crate) fn on_received(&mut self, bytes: usize) -> u64 {
        let before = self.received.max(self.sent);
        self.received += bytes as u64;
        self.received.saturating_sub(before)
    }

    /// Takes up to one whole message off the front of what came back. `left` counts the bytes that
    /// are still to be taken of `len` that came; `header` gives a byte of them where they are
    /// known and framed. None when the next message has not come back whole.
    pub(crate) fn next_whole(
        &mut self,
        pattern: &Pattern,
        len: usize,
        left: &mut usize,
        header: Option<&[u8]>,
    ) -> Option<Answered> {
        let message = pattern.message(self.coming);
        let missing = (message.len - self.in_message) as usize;
        let taken = missing.min(*left);
        if let Some(bytes) = header
            && let Some(to_mark) = STALLED_BYTE.checked_sub(self.in_message as usize)
            && to_mark < taken
        {
            self.is_marked = bytes[len - *left + to_mark] & STALLED_BIT != 0;
        }
        *left -= taken;
        if taken < missing {
            self.in_message += taken as u32;
            return None;
        }
        self.in_message = 0;
        self.coming = pattern.next(self.coming);
        let number = self.answered;
        self.answered += 1;
        let is_stalled = std::mem::take(&mut self.is_marked);
        Some(Answered { number, part: message.part, is_stalled })
    }

    /// Takes back every message of which no byte was handed to the system: their numbers, counted
    /// like those of answered ones.
    pub(crate) fn take_back_unsent(&mut self, pattern: &Pattern) -> Range<u64> {
        let mut end = self.received - u64::from(self.in_message);
        let (mut number, mut message) = (self.answered, self.coming);
        while end < self.sent {
            end += u64::from(pattern.message(message).len);
            message = pattern.next(message);
            number += 1;
        }
        let (kept, kept_messages) = (end, number);
        self.next_to_queue = message;
        while end < self.queued {
            end += u64::from(pattern.message(message).len);
            message = pattern.next(message);
            number += 1;
        }
        self.queued = kept;
        kept_messages..number
    }

    /// Whether every byte started has come back.
    pub(crate) fn is_settled(&self) -> bool {
        self.received >= self.queued
    }

    /// Bytes started that have not come back.
    pub(crate) fn missing(&self) -> u64 {
        self.queued.saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sizes::SizeMix;
    use super::*;

    fn raw(sizes: &str) -> Pattern {
        Pattern::new(&SizeMix::parse(sizes).expect("sizes"), false)
    }

    fn received(connection: &mut Connection, pattern: &Pattern, piece: usize) -> Vec<u64> {
        assert_eq!(connection.on_received(piece), 0);
        let mut left = piece;
        std::iter::from_fn(|| connection.next_whole(pattern, piece, &mut left, None))
            .map(|answered| answered.number)
            .collect()
    }

    #[test]
    fn messages_come_back_whole_however_they_are_split() {
        let pattern = raw("100");
        let mut connection = Connection::new(pattern.place(7));
        (0..3).for_each(|_| connection.queue(&pattern));
        connection.on_sent(300);
        let numbers: Vec<u64> = [1, 98, 1, 150, 49, 1]
            .into_iter()
            .flat_map(|piece| received(&mut connection, &pattern, piece))
            .collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert!(connection.is_settled());
    }

    #[test]
    fn messages_of_several_sizes_come_back_in_the_order_in_which_they_were_sent() {
        let pattern = raw("10,200");
        let mut connection = Connection::new(pattern.place(3));
        (0..50).for_each(|_| connection.queue(&pattern));
        let all = connection.unsent() as usize;
        connection.on_sent(all);
        assert_eq!(received(&mut connection, &pattern, all).len(), 50);
        assert!(connection.is_settled());
    }

    #[test]
    fn the_mark_of_a_stall_is_seen_wherever_the_stream_is_split() {
        let pattern = Pattern::new(&SizeMix::one(20), true);
        let mut stream = pattern.from(0)[..84].to_vec();
        stream[28 + STALLED_BYTE] |= STALLED_BIT;
        for split in 0..=stream.len() {
            let mut connection = Connection::new(pattern.place(0));
            (0..3).for_each(|_| connection.queue(&pattern));
            connection.on_sent(84);
            let mut stalled = Vec::new();
            for piece in [&stream[..split], &stream[split..]] {
                assert_eq!(connection.count_wrong(&pattern, piece), 0);
                connection.on_received(piece.len());
                let mut left = piece.len();
                while let Some(answered) =
                    connection.next_whole(&pattern, piece.len(), &mut left, Some(piece))
                {
                    stalled.push(answered.is_stalled);
                }
            }
            assert_eq!(stalled, [false, true, false], "split at {split}");
        }
    }

    #[test]
    fn bytes_that_were_never_sent_are_told_apart() {
        let pattern = raw("100");
        let mut connection = Connection::new(pattern.place(0));
        connection.queue(&pattern);
        connection.on_sent(60);
        assert_eq!(connection.unsent(), 40);
        assert_eq!(connection.on_received(50), 0);
        assert_eq!(connection.on_received(15), 5);
        assert_eq!(connection.on_received(10), 10);
        assert_eq!(connection.missing(), 25);
    }

    #[test]
    fn a_message_is_taken_back_unless_a_byte_of_it_was_sent() {
        let pattern = raw("10,200");
        for sent in 0..60 {
            let mut connection = Connection::new(pattern.place(1));
            (0..40).for_each(|_| connection.queue(&pattern));
            connection.on_sent(sent);
            let got = sent / 2;
            let answered = received(&mut connection, &pattern, got).len() as u64;
            let unsent = connection.take_back_unsent(&pattern);
            assert_eq!(unsent.end, 40);
            assert!(unsent.start >= answered);
            // What is left is the rest of a message that was begun.
            assert!(connection.unsent() < 200);
            let rest = connection.unsent() as usize;
            connection.on_sent(rest);
            let more = received(&mut connection, &pattern, sent - got + rest).len() as u64;
            assert_eq!(answered + more, unsent.start);
            assert!(connection.is_settled());
            connection.queue(&pattern);
            let len = connection.unsent() as usize;
            connection.on_sent(len);
            assert_eq!(received(&mut connection, &pattern, len), [unsent.start]);
        }
    }

    #[test]
    fn a_connection_stays_small() {
        assert!(size_of::<Connection>() <= 64);
    }
}
