//! One open object, one port: what refuses a second association, through whichever duplicate.
//!
//! Windows keeps this in the object itself. Elsewhere sockets are known by the number that the
//! system gives each open socket, which all its duplicates share; files, for which there is no
//! such number, by a flag that duplicates made by this library share.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

static SOCKETS: Mutex<Option<HashSet<u64>>> = Mutex::new(None);

/// While it lives, the object is associated. It goes before the descriptor closes, so that the
/// number is free again before the system can give it to another socket.
#[derive(Debug)]
pub(crate) enum Association {
    Socket(u64),
    Flag(Arc<AtomicBool>),
}

impl Association {
    /// Claims the socket with this number; `None` when it is associated already.
    pub(crate) fn of_socket(number: u64) -> Option<Self> {
        let mut sockets = SOCKETS.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = sockets.get_or_insert_default().insert(number);
        // Not made unless it is claimed: the drop of one ends the claim.
        is_new.then(|| Association::Socket(number))
    }

    /// Claims the object that shares this flag; `None` when it is associated already.
    pub(crate) fn of_flag(flag: Arc<AtomicBool>) -> Option<Self> {
        match flag.swap(true, Ordering::AcqRel) {
            true => None,
            false => Some(Association::Flag(flag)),
        }
    }
}

impl Drop for Association {
    fn drop(&mut self) {
        match self {
            Association::Socket(number) => {
                let mut sockets = SOCKETS.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(sockets) = sockets.as_mut() {
                    sockets.remove(number);
                }
            }
            Association::Flag(flag) => flag.store(false, Ordering::Release),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_can_be_associated_again_after_its_association_ended() {
        // No open socket has this number: it is above what the system's counter reaches.
        let number = u64::MAX - 7;
        let first = Association::of_socket(number).expect("free");
        assert!(Association::of_socket(number).is_none());
        drop(first);
        assert!(Association::of_socket(number).is_some());
    }
}
