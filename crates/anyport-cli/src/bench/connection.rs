//! The accounts of one connection: bytes owed, bytes sent, bytes that came back.
//!
//! No I/O and no clock; 48 bytes, since there are thousands. Called by `generator`.

/// One connection of a closed loop.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Where in the pattern it starts.
    base: u64,
    /// Bytes of all messages started so far.
    queued: u64,
    /// Bytes handed to the system; never above `queued`.
    sent: u64,
    /// Bytes that came back.
    received: u64,
    /// Bytes of the message that is coming back.
    in_message: u64,
    /// Which of the connection's send times belongs to the message that is coming back.
    slot: u32,
}

impl Connection {
    /// A connection that starts at `base` in the pattern and owes nothing.
    pub(crate) fn new(base: u64) -> Self {
        Self { base, ..Self::default() }
    }

    /// Starts messages of `bytes` in all.
    pub(crate) fn queue(&mut self, bytes: u64) {
        self.queued += bytes;
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

    /// Position in the pattern of the next byte to come back.
    pub(crate) fn receive_position(&self) -> u64 {
        self.base + self.received
    }

    /// `bytes` came back: how many of them were never sent.
    pub(crate) fn on_received(&mut self, bytes: usize) -> u64 {
        let before = self.received.max(self.sent);
        self.received += bytes as u64;
        self.in_message += bytes as u64;
        self.received.saturating_sub(before)
    }

    /// Takes one whole message off what came back: the slot of its send time, of `slots`; none
    /// when the next message has not come back whole. In a closed loop the message that follows
    /// uses the same slot.
    pub(crate) fn next_whole(&mut self, message_len: u64, slots: u32) -> Option<usize> {
        if self.in_message < message_len {
            return None;
        }
        self.in_message -= message_len;
        let slot = self.slot;
        self.slot = if slot + 1 == slots { 0 } else { slot + 1 };
        Some(slot as usize)
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
    use super::*;

    #[test]
    fn messages_come_back_whole_however_they_are_split() {
        let mut connection = Connection::new(7);
        connection.queue(300);
        connection.on_sent(300);
        let mut slots = Vec::new();
        for piece in [1, 98, 1, 150, 49, 1] {
            assert_eq!(connection.on_received(piece), 0);
            while let Some(slot) = connection.next_whole(100, 2) {
                slots.push(slot);
            }
        }
        assert_eq!(slots, [0, 1, 0]);
        assert!(connection.is_settled());
        assert_eq!(connection.receive_position(), 307);
    }

    #[test]
    fn bytes_that_were_never_sent_are_told_apart() {
        let mut connection = Connection::new(0);
        connection.queue(100);
        connection.on_sent(60);
        assert_eq!(connection.unsent(), 40);
        assert_eq!(connection.on_received(50), 0);
        assert_eq!(connection.on_received(15), 5);
        assert_eq!(connection.on_received(10), 10);
        assert_eq!(connection.missing(), 25);
    }

    #[test]
    fn a_connection_stays_small() {
        assert!(size_of::<Connection>() <= 48);
    }
}
