//! What has arrived on a stream and was not taken: pieces, in the order in which they came.
//!
//! Most of the time there is one or none, and the task that it is for takes it at once. So the oldest
//! piece lies in the queue itself: a thousand idle queues with memory of their own would each fetch a
//! line of it for every message.

use crate::buf::Buffer;
use std::collections::VecDeque;

/// Bytes that arrived and were not taken. Their end is kept beside the buffer: a boxed slice does not
/// know how much of it was received.
pub(super) struct Piece {
    pub(super) buffer: Buffer,
    start: usize,
    end: usize,
}

impl Piece {
    /// The first `len` bytes of `buffer`.
    pub(super) fn new(buffer: Buffer, len: usize) -> Self {
        Piece { buffer, start: 0, end: len }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer.as_slice()[self.start..self.end]
    }

    /// The first `len` bytes are taken, which it has.
    pub(super) fn advance(&mut self, len: usize) {
        self.start += len;
        debug_assert!(self.start <= self.end, "no more is taken than there was");
    }
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct Pieces {
    /// The oldest one. Without it there are no others.
    first: Option<Piece>,
    others: VecDeque<Piece>,
}

impl Pieces {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    /// From the oldest on.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.first.iter().chain(&self.others)
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut Piece> {
        self.first.as_mut()
    }

    pub(super) fn push(&mut self, piece: Piece) {
        match self.first {
            None => self.first = Some(piece),
            Some(_) => self.others.push_back(piece),
        }
    }

    /// The oldest piece.
    pub(super) fn pop(&mut self) -> Option<Piece> {
        let next = self.others.pop_front();
        if self.others.is_empty() {
            // Begins anew at the start of its memory, and does not go around in it.
            self.others.clear();
        }
        std::mem::replace(&mut self.first, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(bytes: &[u8]) -> Piece {
        Piece::new(bytes.to_vec().into(), bytes.len())
    }

    #[test]
    fn pieces_leave_in_the_order_in_which_they_came() {
        let mut pieces = Pieces::default();
        assert!(pieces.is_empty() && pieces.pop().is_none());
        let (mut next_in, mut next_out) = (0u8, 0u8);
        // Never empty from the first on, at most three, and empty at the end.
        for pushes in [2, 2, 1, 0, 2, 0, 0] {
            for _ in 0..pushes {
                pieces.push(piece(&[next_in]));
                next_in += 1;
            }
            assert_eq!(pieces.len(), usize::from(next_in - next_out));
            let all: Vec<u8> = pieces.iter().map(|piece| piece.bytes()[0]).collect();
            assert_eq!(all, (next_out..next_in).collect::<Vec<u8>>());
            if let Some(piece) = pieces.pop() {
                assert_eq!(piece.bytes(), [next_out]);
                next_out += 1;
            }
        }
        assert!(pieces.is_empty() && next_out == 7);
    }

    #[test]
    fn a_part_of_a_piece_leaves_its_rest() {
        let mut pieces = Pieces::default();
        pieces.push(piece(b"abc"));
        pieces.first_mut().expect("the piece").advance(2);
        assert_eq!(pieces.pop().expect("its rest").bytes(), b"c");
    }
}
