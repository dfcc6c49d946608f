//! Texts of errors about something that has a name of the outside world's, such as a host.
//!
//! Errors are copied freely and are small, since every packet has room for one. So a text is not in
//! the error: the last ones are kept here, and an error whose text is gone by the time that somebody
//! looks says less. What is kept has a bound, however many hosts are not found.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Texts that are kept.
const KEPT: usize = 256;

/// Bytes of one; a longer one is cut.
const LEN_MAX: usize = 512;

/// Names a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TextId(NonZeroU32);

struct Texts {
    last: u32,
    /// By number, modulo their count.
    kept: [Option<(TextId, Arc<str>)>; KEPT],
}

static TEXTS: Mutex<Texts> = Mutex::new(Texts::new());

/// Keeps `text`, in place of the oldest; the same text again is the same one.
pub(super) fn keep(text: &str) -> TextId {
    lock().keep(cut(text))
}

/// The text, if it is kept still.
pub(super) fn get(id: TextId) -> Option<Arc<str>> {
    lock().get(id)
}

fn lock() -> MutexGuard<'static, Texts> {
    TEXTS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Texts {
    const fn new() -> Self {
        Texts { last: 0, kept: [const { None }; KEPT] }
    }

    fn keep(&mut self, text: &str) -> TextId {
        if let Some((id, _)) = self.kept.iter().flatten().find(|(_, kept)| **kept == *text) {
            return *id;
        }
        let number = NonZeroU32::new(self.last.wrapping_add(1)).unwrap_or(NonZeroU32::MIN);
        self.last = number.get();
        let id = TextId(number);
        self.kept[place(id)] = Some((id, text.into()));
        id
    }

    fn get(&self, id: TextId) -> Option<Arc<str>> {
        let (kept, text) = self.kept[place(id)].as_ref()?;
        (*kept == id).then(|| Arc::clone(text))
    }
}

fn place(id: TextId) -> usize {
    id.0.get() as usize % KEPT
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LEN_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_texts_are_kept_and_no_more() {
        let mut texts = Texts::new();
        let first = texts.keep("the first");
        assert_eq!(texts.get(first).as_deref(), Some("the first"));
        assert!(texts.keep("the first") == first, "it is there already");
        let later: Vec<_> = (0..KEPT).map(|i| texts.keep(&format!("later {i}"))).collect();
        assert_eq!(texts.get(first), None);
        for (i, id) in later.into_iter().enumerate() {
            assert_eq!(texts.get(id).as_deref(), Some(format!("later {i}").as_str()));
        }
    }

    #[test]
    fn numbers_begin_again_after_the_last() {
        let mut texts = Texts::new();
        texts.last = u32::MAX - 1;
        let (last, next) = (texts.keep("the last"), texts.keep("one more"));
        assert_eq!(texts.get(last).as_deref(), Some("the last"));
        assert_eq!(texts.get(next).as_deref(), Some("one more"));
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let text = "ä".repeat(LEN_MAX);
        assert_eq!(cut(&text).len(), LEN_MAX);
        assert_eq!(cut(&format!("x{text}")).len(), LEN_MAX - 1);
    }
}
