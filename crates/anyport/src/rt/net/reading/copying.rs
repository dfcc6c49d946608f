//! What has arrived, for who has memory of his own of any kind.

use crate::error::Error;
use crate::rt::net::connection::Connection;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

impl Connection {
    /// Gives `take` what has arrived, or arrives next, in its pieces, `room` bytes of it at most, and
    /// says how many; 0: the peer has ended its side, or there is no room.
    ///
    /// `take` copies and returns; it is called with the receiving side locked.
    pub(in crate::rt) fn poll_pieces(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        room: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Poll<Result<usize, Error>> {
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        let Some(mut reading) = ready!(self.poll_some(cx, true))? else {
            return Poll::Ready(Ok(0));
        };
        let mut taken = 0;
        for piece in reading.pieces() {
            let piece = &piece[..piece.len().min(room - taken)];
            take(piece);
            taken += piece.len();
            if taken == room {
                break;
            }
        }
        let spent = reading.consume(taken);
        drop(reading);
        drop(spent);
        Poll::Ready(Ok(taken))
    }
}
