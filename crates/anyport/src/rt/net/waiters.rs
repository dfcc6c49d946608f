//! Who waits for what several tasks may wait for: connections of a listener, datagrams of a socket.
//!
//! One is called at a time, the one that has waited longest. A future has a place here while it
//! waits, and gives it up when it is ready or dropped; whoever goes sees to it that the next is called
//! where there is something for it. So no call is lost with a future that was called and then dropped,
//! and nothing is left of one that is gone.

use std::collections::VecDeque;
use std::task::{Context, Waker};

/// Those who wait, in the order in which they came.
#[derive(Default)]
pub(super) struct Waiters {
    /// Numbers ascend.
    places: VecDeque<(u64, Waker)>,
    last: u64,
}

/// The place of one future; none before it has waited.
#[derive(Default)]
pub(super) struct Place(Option<u64>);

impl Waiters {
    /// The future waits from now on: where it did already, or behind all others. Gives a waker that is
    /// to be dropped without a lock.
    pub(super) fn wait(&mut self, place: &mut Place, cx: &Context<'_>) -> Option<Waker> {
        if let Some(index) = self.index_of(place) {
            let waker = &mut self.places[index].1;
            return match waker.will_wake(cx.waker()) {
                true => None,
                false => Some(std::mem::replace(waker, cx.waker().clone())),
            };
        }
        self.last += 1;
        place.0 = Some(self.last);
        self.places.push_back((self.last, cx.waker().clone()));
        None
    }

    /// The one who has waited longest, for the caller to wake; it has no place any more.
    pub(super) fn call(&mut self) -> Option<Waker> {
        self.places.pop_front().map(|(_, waker)| waker)
    }

    fn give_up(&mut self, place: &Place) -> Option<Waker> {
        let index = self.index_of(place)?;
        self.places.remove(index).map(|(_, waker)| waker)
    }

    fn index_of(&self, place: &Place) -> Option<usize> {
        self.places.binary_search_by_key(&place.0?, |(number, _)| *number).ok()
    }

    #[cfg(all(test, not(loom)))]
    fn len(&self) -> usize {
        self.places.len()
    }
}

/// What is waited for.
pub(super) trait WaitedFor {
    /// With those who wait, locked; and whether there is something for the next of them, or nobody else
    /// will call it.
    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters, bool) -> R) -> R;
}

/// The wait of a future, from its first poll to its end.
pub(super) struct Waiting<'a, W: WaitedFor> {
    of: &'a W,
    pub(super) place: Place,
}

impl<'a, W: WaitedFor> Waiting<'a, W> {
    pub(super) fn on(of: &'a W) -> Self {
        Waiting { of, place: Place::default() }
    }
}

impl<W: WaitedFor> Drop for Waiting<'_, W> {
    fn drop(&mut self) {
        if self.place.0.is_none() {
            // It was nobody's turn that ends here.
            return;
        }
        let (own, next) = self.of.with_waiters(|waiters, has_news| {
            let own = waiters.give_up(&self.place);
            (own, has_news.then(|| waiters.call()).flatten())
        });
        drop(own);
        if let Some(next) = next {
            next.wake();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::latch::Latch;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tokens that are handed out one to a future.
    #[derive(Default)]
    struct Tokens(Latch<(Waiters, usize)>);

    impl WaitedFor for Tokens {
        fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters, bool) -> R) -> R {
            let mut state = self.0.lock();
            let has_news = state.1 > 0;
            f(&mut state.0, has_news)
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Wait(usize),
        Take,
        Drop(usize),
        Give,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..6_usize).prop_map(Step::Wait),
            Just(Step::Take),
            (0..6_usize).prop_map(Step::Drop),
            Just(Step::Give),
        ];
        prop::collection::vec(step, 0..80)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A future is asleep from its wait to its call. While there is a token and somebody sleeps,
        /// somebody has been called who has yet to look.
        #[test]
        fn nobody_sleeps_while_there_is_something_and_nobody_is_called(steps in steps()) {
            let tokens = Tokens::default();
            let woken: Vec<_> = (0..6).map(|_| Arc::new(Woken::default())).collect();
            let mut waits: Vec<Option<(Waiting<'_, Tokens>, usize)>> = (0..6).map(|_| None).collect();
            for step in steps {
                match step {
                    Step::Wait(i) => {
                        let waker = Waker::from(Arc::clone(&woken[i]));
                        let cx = Context::from_waker(&waker);
                        let seen = woken[i].0.load(Ordering::Relaxed);
                        let (wait, before) =
                            waits[i].get_or_insert_with(|| (Waiting::on(&tokens), seen));
                        *before = seen;
                        let mut state = tokens.0.lock();
                        if state.1 > 0 {
                            state.1 -= 1;
                            drop(state);
                            waits[i] = None;
                        } else {
                            state.0.wait(&mut wait.place, &cx);
                        }
                    }
                    // As by a future that is polled for the first time.
                    Step::Take => {
                        let mut state = tokens.0.lock();
                        state.1 = state.1.saturating_sub(1);
                    }
                    Step::Drop(i) => waits[i] = None,
                    Step::Give => {
                        let mut state = tokens.0.lock();
                        state.1 += 1;
                        let next = state.0.call();
                        drop(state);
                        if let Some(next) = next {
                            next.wake();
                        }
                    }
                }
                let is_called = |i: usize| {
                    let woken = woken[i].0.load(Ordering::Relaxed);
                    waits[i].as_ref().map(|(_, before)| woken > *before)
                };
                let sleeping = (0..6).filter(|&i| is_called(i) == Some(false)).count();
                let called = (0..6).filter(|&i| is_called(i) == Some(true)).count();
                let state = tokens.0.lock();
                prop_assert_eq!(state.0.len(), sleeping, "who sleeps has a place, nobody else");
                prop_assert!(state.1 == 0 || sleeping == 0 || called > 0);
            }
        }
    }

    #[test]
    fn who_waited_first_is_called_first_and_keeps_its_place_when_it_looks_again() {
        let tokens = Tokens::default();
        let woken: Vec<_> = (0..3).map(|_| Arc::new(Woken::default())).collect();
        let wakers: Vec<_> = woken.iter().map(|woken| Waker::from(Arc::clone(woken))).collect();
        let mut waits: Vec<_> = (0..3).map(|_| Waiting::on(&tokens)).collect();
        for _ in 0..2 {
            for (wait, waker) in waits.iter_mut().zip(&wakers) {
                tokens.0.lock().0.wait(&mut wait.place, &Context::from_waker(waker));
            }
        }
        drop(waits.remove(1));
        for _ in 0..2 {
            let next = tokens.0.lock().0.call();
            next.expect("somebody waits").wake();
        }
        assert!(tokens.0.lock().0.call().is_none());
        let counts: Vec<_> = woken.iter().map(|woken| woken.0.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [1, 0, 1]);
    }
}
