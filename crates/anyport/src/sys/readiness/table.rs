//! Which socket a key of the poller means.
//!
//! Keys carry a generation, so that a late event of a socket that is gone does not meet the one
//! that took its place. Called by `Readiness` under its lock.

use super::registration::Socket;
use std::sync::Arc;

/// The sockets that are attached, by key.
#[derive(Default)]
pub(super) struct SocketTable {
    entries: Vec<Entry>,
    free: Vec<usize>,
}

impl SocketTable {
    /// Adds the socket that `make` makes for its key; `None` when the keys are used up.
    pub(super) fn insert(&mut self, make: impl FnOnce(usize) -> Socket) -> Option<Arc<Socket>> {
        let index = match self.free.pop() {
            Some(index) => index,
            // The last index is never used: with it a key could be the one that a selector keeps.
            None if self.entries.len() == INDEX_MASK => return None,
            None => {
                if self.entries.len() == self.entries.capacity() {
                    // By a quarter: doubling would cost each connection half as much again.
                    self.entries.reserve_exact(self.entries.len() / 4 + 64);
                }
                self.entries.push(Entry::default());
                self.entries.len() - 1
            }
        };
        let entry = &mut self.entries[index];
        let socket = Arc::new(make(entry.generation << INDEX_BITS | index));
        entry.socket = Some(Arc::clone(&socket));
        Some(socket)
    }

    /// The socket that has the key, if it is still there.
    pub(super) fn get(&self, key: usize) -> Option<&Arc<Socket>> {
        let entry = self.entries.get(key & INDEX_MASK)?;
        entry.socket.as_ref().filter(|_| entry.generation == key >> INDEX_BITS)
    }

    /// Takes the socket with this key out.
    pub(super) fn remove(&mut self, key: usize) {
        if self.get(key).is_some() {
            let index = key & INDEX_MASK;
            let entry = &mut self.entries[index];
            entry.socket = None;
            entry.generation = entry.generation.wrapping_add(1) & (usize::MAX >> INDEX_BITS);
            self.free.push(index);
        }
    }
}

/// A million sockets where pointers have 32 bits.
const INDEX_BITS: u32 = if usize::BITS == 64 { 32 } else { 20 };
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;

#[derive(Default)]
struct Entry {
    generation: usize,
    socket: Option<Arc<Socket>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_removed_socket_does_not_name_its_successor() {
        let mut table = SocketTable::default();
        let first = table.insert(|key| Socket::new(3, key)).expect("room").key();
        table.remove(first);
        let second = table.insert(|key| Socket::new(3, key)).expect("room").key();
        assert_ne!(first, second);
        assert!(table.get(first).is_none());
        assert!(table.get(second).is_some());
        table.remove(first);
        assert!(table.get(second).is_some());
    }
}
