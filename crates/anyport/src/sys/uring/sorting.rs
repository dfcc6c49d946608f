//! What a completion is: the event of a request, or the answer to an entry of the backend's own.

use super::provided::Groups;
use super::translate::{self, Sort};
use crate::sys::{Event, Outcome, Token};
use io_uring::cqueue;

/// See the module documentation.
pub(super) enum Found {
    Event(Event),
    /// The lane's thread was woken.
    Wake,
    /// The clerk's doorbell rang.
    Doorbell,
    /// This lane, which nobody serves, has events.
    Orphan(usize),
    /// The answer to a cancel.
    Nothing,
}

/// Sorts one completion; the buffer that the kernel picked for it comes out of `groups`.
pub(super) fn sort(completion: &cqueue::Entry, groups: &mut Groups) -> Found {
    let (word, result, flags) = (completion.user_data(), completion.result(), completion.flags());
    let outcome = match Sort::of(word) {
        Sort::Cancel => return Found::Nothing,
        Sort::Wake => return Found::Wake,
        Sort::Doorbell => return Found::Doorbell,
        Sort::Orphan => return Found::Orphan(Token::from_bits(word).index() as usize),
        Sort::Pooled(class) => match cqueue::buffer_select(flags) {
            Some(id) => {
                let length = result.max(0) as usize;
                let filled = length.min(class.bytes());
                let buffer = groups.take(class, id, filled);
                match result {
                    0.. if length > filled => Outcome::PooledTruncated(buffer),
                    0.. => Outcome::Pooled(buffer),
                    // A buffer was chosen and left empty.
                    _ => translate::outcome(Sort::Pooled(class), result),
                }
            }
            None => translate::outcome(Sort::Pooled(class), result),
        },
        sort => translate::outcome(sort, result),
    };
    Found::Event(Event {
        token: Token::from_bits(word),
        outcome,
        more: cqueue::more(flags),
        is_drained: !cqueue::sock_nonempty(flags),
    })
}
