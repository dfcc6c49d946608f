//! The bounded pool of receive buffers, shared by all connections of a port.
//!
//! Guaranteed: taken and free buffers together never exceed the bound; at the bound `take` says
//! `None`, which is back-pressure and not an error; whoever waits for room is told. The buffer
//! that came back last is taken first, because it is still in the cache. Called by the engine for
//! pooled receives, and by users who build what they send in a pooled buffer.

use std::collections::VecDeque;
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::block::Block;
use super::quarantine::{self, QuarantineError};
use super::{PoolOptions, PooledBuffer, SizeClass};
use crate::latch::{Latch, LatchGuard};

/// A bounded pool of buffers in three size classes.
///
/// Clones are handles to the same pool. Memory is allocated when a buffer is first taken, kept for
/// reuse when it comes back, and freed by [`trim`](Self::trim), when another class needs the room,
/// or when the last handle and the last buffer are gone.
#[derive(Clone)]
pub struct BufferPool {
    shared: Arc<PoolShared>,
}

/// What a [`BufferPool`] holds at one moment; the counts belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStats {
    /// The bound in bytes.
    pub bytes_max: usize,
    /// Bytes of taken and of free buffers; never above `bytes_max`.
    pub bytes_allocated: usize,
    /// Bytes of freed buffers that are held back; 0 without quarantine mode.
    pub bytes_quarantined: usize,
    /// Buffers that are taken now, by [`SizeClass::index`].
    pub taken: [usize; SizeClass::COUNT],
    /// Buffers that are free for reuse now, by [`SizeClass::index`].
    pub free: [usize; SizeClass::COUNT],
    /// How often `take` said `None` since the pool was made.
    pub refused: u64,
}

impl PoolStats {
    /// Bytes of the buffers that are taken now: by whoever holds received bytes, by receives under way,
    /// and by the kernel, which is lent some.
    #[must_use]
    pub fn bytes_taken(&self) -> usize {
        SizeClass::ALL.map(|class| self.taken[class.index()] * class.bytes()).iter().sum()
    }
}

impl BufferPool {
    /// An empty pool; allocates no buffer yet.
    #[must_use]
    pub fn new(options: PoolOptions) -> Self {
        Self {
            shared: Arc::new(PoolShared {
                options,
                state: Latch::new(State::default()),
                is_wanted: AtomicBool::new(false),
                on_return: Mutex::new(None),
            }),
        }
    }

    /// An empty buffer of `class`, or `None` when it does not fit under the bound (or the
    /// allocator has no memory): try again when a buffer has come back.
    ///
    /// A free buffer of the class is reused; otherwise one is allocated, for which free buffers of
    /// other classes are released where the bound asks for it. Never blocks for room.
    #[must_use = "the buffer goes back to the pool when it is dropped"]
    pub fn take(&self, class: SizeClass) -> Option<PooledBuffer> {
        let block = PoolShared::take(&self.shared, class)?;
        Some(PooledBuffer::new(&self.shared, block, class))
    }

    /// As `take`, for bytes that wait to be sent: only as long as no more than half of the bound is
    /// taken, so that peers that do not read keep nobody from receiving.
    #[cfg(any(feature = "futures-io", feature = "hyper"))]
    pub(crate) fn take_for_sending(&self, class: SizeClass) -> Option<PooledBuffer> {
        let state = self.shared.lock();
        let taken_bytes = state.bytes_allocated - state.free_bytes();
        drop(state);
        // Two that look at the same time may exceed it by a buffer, which does no harm.
        match taken_bytes + class.bytes() <= self.shared.options.bytes_max / 2 {
            true => self.take(class),
            false => None,
        }
    }

    /// As `take`, up to `count` times, at little more than the cost of once; gives each buffer to
    /// `f`, which must not call the pool.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    pub(crate) fn take_many(
        &self,
        class: SizeClass,
        count: usize,
        mut f: impl FnMut(PooledBuffer),
    ) {
        if count == 0 {
            return;
        }
        let mut state = Some(self.shared.lock());
        for _ in 0..count {
            let free = state.as_mut().and_then(|s| s.take_free(&self.shared, class));
            let block = free.or_else(|| {
                // The others are allocated one by one, outside the lock.
                state = None;
                PoolShared::take(&self.shared, class)
            });
            let Some(block) = block else { return };
            f(PooledBuffer::new(&self.shared, block, class));
        }
    }

    /// Gives the memory of all free buffers back to the allocator; returns how many bytes.
    pub fn trim(&self) -> usize {
        let mut state = self.shared.lock();
        let bytes_before = state.bytes_allocated;
        for class in SizeClass::ALL {
            while state.release_one(class) {}
        }
        bytes_before - state.bytes_allocated
    }

    /// What the pool holds now.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let state = self.shared.lock();
        PoolStats {
            bytes_max: self.shared.options.bytes_max,
            bytes_allocated: state.bytes_allocated,
            bytes_quarantined: state.quarantined.iter().map(|(_, class)| class.bytes()).sum(),
            taken: state.taken,
            free: SizeClass::ALL.map(|class| state.free[class.index()].len()),
            refused: state.refused,
        }
    }

    /// How many buffers are taken now, of all classes. At 0 no return is to be waited for.
    #[must_use]
    pub fn live(&self) -> usize {
        self.shared.lock().taken.iter().sum()
    }

    /// Looks at every freed buffer of a pool in quarantine mode; returns how many were checked.
    ///
    /// Without quarantine mode nothing is checked, and the answer is 0. Other calls to the pool
    /// wait meanwhile.
    ///
    /// # Errors
    /// The first byte that was written to after its buffer had been freed.
    pub fn check_quarantine(&self) -> Result<usize, QuarantineError> {
        let state = self.shared.lock();
        for (buffer, (block, class)) in state.quarantined.iter().enumerate() {
            if let Some((offset, found)) = quarantine::first_change(block, *class) {
                return Err(QuarantineError { buffer, class: *class, offset, found });
            }
        }
        Ok(state.quarantined.len())
    }

    /// Sets what is called when a buffer comes back after [`want`](Self::want); replaces what was
    /// set before.
    ///
    /// Called by whichever thread drops the buffer, outside the pool's locks, so it may call the
    /// pool. It must not block or panic, must not drop a pooled buffer after it has called `want`
    /// (that would call it again from within), and must not own what owns the pool: hold a `Weak`.
    pub(crate) fn set_on_return(&self, f: Box<dyn Fn() + Send + Sync>) {
        let replaced = self.shared.lock_on_return().replace(Arc::from(f));
        // Outside the lock: what it captured may own a pooled buffer.
        drop(replaced);
    }

    /// Asks for one call of the function set by [`set_on_return`](Self::set_on_return) when the
    /// next buffer, of whatever class, comes back.
    ///
    /// No wake-up is lost if the caller calls `want` first and then tries `take` again: a buffer
    /// that came back before that `take` is found by it, and one that comes back after it sees the
    /// wish. What came back may be too small or be taken by another: then want and take again. A
    /// `take` that succeeds leaves the wish standing, at the cost of one call too many. With no
    /// buffer live, none will come back.
    pub(crate) fn want(&self) {
        self.shared.is_wanted.store(true, Ordering::Release);
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BufferPool").field(&self.stats()).finish()
    }
}

/// What the handles of a pool own together, and, as long as any is taken, the pool for its buffers.
pub(super) struct PoolShared {
    options: PoolOptions,
    state: Latch<State>,
    /// Set by `want`, cleared by the return that calls `on_return`. Ordered against `take` by the
    /// lock on `state`: see `told_of_room`.
    is_wanted: AtomicBool,
    on_return: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl PoolShared {
    fn take(this: &Arc<Self>, class: SizeClass) -> Option<Block> {
        {
            let mut state = this.lock();
            if let Some(block) = state.take_free(this, class) {
                return Some(block);
            }
            if !state.make_room(class, this.options.bytes_max) {
                state.refused += 1;
                return None;
            }
            state.bytes_allocated += class.bytes();
            state.count_taken(this, class);
        }
        // Outside the lock; the room is reserved.
        let block = Block::allocate(class);
        if block.is_none() {
            let mut state = this.lock();
            state.bytes_allocated -= class.bytes();
            // Dropped below: `this` keeps the pool as well.
            let keeper = state.count_returned(class);
            state.refused += 1;
            drop(state);
            drop(keeper);
            // The reservation may have been what another taker was refused for.
            this.told_of_room();
        }
        block
    }

    /// Takes back the block of a dropped buffer, which was taken as `class`.
    ///
    /// # Safety
    /// A buffer of `this` is counted as taken for the caller, which keeps the pool; no longer
    /// afterwards.
    pub(super) unsafe fn give_back(this: NonNull<Self>, block: Block, class: SizeClass) {
        let kept = {
            // SAFETY: the caller's promise. Another thread that gives back the last buffer may free
            // the pool as soon as this one is uncounted and the lock is free: so nothing is done
            // with the pool after that but by a reference of this thread's own.
            let pool = unsafe { this.as_ref() };
            if pool.options.is_quarantine {
                quarantine::fill(&block, class);
            }
            pool.lock().take_back(pool, block, class)
        };
        if let Some(pool) = kept {
            pool.told_of_room();
        }
    }

    /// Calls `on_return` if somebody wants to know; to be called after every release of `state`
    /// that made room.
    ///
    /// A taker sets the wish before it locks `state` and finds no room. If that was before the
    /// lock that made room, the wish is seen here; if it was after, the taker found the room.
    fn told_of_room(&self) {
        // The plain load keeps the cache line shared while nobody waits, which is nearly always.
        if self.is_wanted.load(Ordering::Acquire) && self.is_wanted.swap(false, Ordering::AcqRel) {
            let on_return = self.lock_on_return().clone();
            if let Some(on_return) = on_return {
                on_return();
            }
        }
    }

    /// A panic under this lock is not possible short of a bug in it.
    fn lock(&self) -> LatchGuard<'_, State> {
        self.state.lock()
    }

    fn lock_on_return(&self) -> MutexGuard<'_, Option<Arc<dyn Fn() + Send + Sync>>> {
        self.on_return.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every block is in exactly one place: in `free[its class]`, in `quarantined`, or with the
/// `PooledBuffer` counted in `taken[its class]`.
#[derive(Default)]
struct State {
    /// The buffer that came back last is at the back: taken first, released last.
    free: [VecDeque<Block>; SizeClass::COUNT],
    quarantined: Vec<(Block, SizeClass)>,
    taken: [usize; SizeClass::COUNT],
    /// The pool itself, while a buffer is taken: one reference for all of them, so that none counts
    /// one of its own.
    keeper: Option<Arc<PoolShared>>,
    /// The bytes of `taken` and `free`.
    bytes_allocated: usize,
    refused: u64,
}

impl State {
    /// A free buffer's memory, counted as taken.
    fn take_free(&mut self, pool: &Arc<PoolShared>, class: SizeClass) -> Option<Block> {
        let block = self.free[class.index()].pop_back()?;
        self.count_taken(pool, class);
        Some(block)
    }

    fn count_taken(&mut self, pool: &Arc<PoolShared>, class: SizeClass) {
        self.taken[class.index()] += 1;
        if self.keeper.is_none() {
            self.keeper = Some(Arc::clone(pool));
        }
    }

    /// See `PoolShared::give_back`. A reference to the pool when this was the last buffer, or when
    /// somebody wants to know of the room.
    fn take_back(
        &mut self,
        pool: &PoolShared,
        block: Block,
        class: SizeClass,
    ) -> Option<Arc<PoolShared>> {
        // Looked at with the lock held: whoever wants room has said so before it found none.
        let is_wanted = pool.is_wanted.load(Ordering::Acquire);
        let wanting = is_wanted.then(|| self.keeper.clone()).flatten();
        let last = self.count_returned(class);
        if pool.options.is_quarantine {
            self.bytes_allocated -= class.bytes();
            self.quarantined.push((block, class));
        } else {
            self.free[class.index()].push_back(block);
            if self.free_bytes() > pool.options.keep_bytes_max {
                self.release_one(class);
            }
        }
        last.or(wanting)
    }

    /// One less; with the last goes what keeps the pool, which may be dropped only when nobody uses
    /// the pool by a reference that this has kept.
    fn count_returned(&mut self, class: SizeClass) -> Option<Arc<PoolShared>> {
        self.taken[class.index()] -= 1;
        match self.taken.iter().sum() {
            0 => self.keeper.take(),
            _ => None,
        }
    }

    /// Makes sure that one more block of `class` fits under the bound, by releasing free blocks of
    /// the other classes. Releases nothing if that would not be enough.
    fn make_room(&mut self, class: SizeClass, bytes_max: usize) -> bool {
        let live_bytes = self.bytes_allocated - self.free_bytes();
        if live_bytes + class.bytes() > bytes_max {
            return false;
        }
        // Small ones first: they are the cheapest to allocate again. A bound that was just met
        // stays met, so no more is released than this block needs.
        for other in SizeClass::ALL {
            while self.bytes_allocated + class.bytes() > bytes_max && self.release_one(other) {}
        }
        true
    }

    /// Frees the block of `class` that was used the longest time ago; false if none is free.
    ///
    /// Under the lock, so that the bound holds for memory and not only for its account.
    fn release_one(&mut self, class: SizeClass) -> bool {
        let Some(block) = self.free[class.index()].pop_front() else {
            return false;
        };
        self.bytes_allocated -= class.bytes();
        // SAFETY: a free block was allocated for the class of its list, and whoever had it gave
        // it back.
        unsafe { block.release(class) };
        true
    }

    fn free_bytes(&self) -> usize {
        SizeClass::ALL.iter().map(|class| self.free[class.index()].len() * class.bytes()).sum()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // A taken buffer keeps the pool, so here every block is free or quarantined.
        for class in SizeClass::ALL {
            while self.release_one(class) {}
        }
        for (block, class) in self.quarantined.drain(..) {
            // SAFETY: quarantined with the class it was allocated for, after it was given back.
            unsafe { block.release(class) };
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
