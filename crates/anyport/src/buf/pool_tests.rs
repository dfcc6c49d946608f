//! Tests of `BufferPool`: the bound, the accounts, and that nobody waits for room in vain.

use std::sync::atomic::AtomicUsize;
use std::sync::{Barrier, Condvar, mpsc};
use std::thread;

use proptest::prelude::*;

use super::super::block::tests::fail_the_next_allocation;
use super::*;

use SizeClass::{Large64K, Medium16K, Small4K};

fn pool_of(bytes_max: usize) -> BufferPool {
    BufferPool::new(PoolOptions::new().bytes_max(bytes_max))
}

fn start_of(buffer: &mut PooledBuffer) -> usize {
    buffer.spare_capacity_mut().as_mut_ptr().addr()
}

#[test]
fn at_the_bound_take_says_none_until_a_buffer_comes_back() {
    let pool = pool_of(3 * 4096);
    let mut taken: Vec<_> = (0..3).map(|_| pool.take(Small4K).expect("room for three")).collect();
    assert!(pool.take(Small4K).is_none());
    assert!(pool.take(Large64K).is_none());
    let stats = pool.stats();
    assert_eq!((stats.taken, stats.refused, stats.bytes_allocated), ([3, 0, 0], 2, 3 * 4096));
    taken.pop();
    assert!(pool.take(Small4K).is_some());
    assert_eq!(pool.live(), 2);
}

#[test]
fn a_pool_without_room_for_one_buffer_refuses() {
    assert!(pool_of(0).take(Small4K).is_none());
    assert!(pool_of(4095).take(Small4K).is_none());
    assert!(pool_of(65_535).take(Large64K).is_none());
    assert!(pool_of(65_536).take(Large64K).is_some());
}

#[test]
fn the_buffer_that_came_back_last_is_taken_first() {
    let pool = pool_of(1 << 20);
    let mut first = pool.take(Medium16K).expect("room");
    let mut second = pool.take(Medium16K).expect("room");
    let (first_start, second_start) = (start_of(&mut first), start_of(&mut second));
    drop(second);
    drop(first);
    let mut again = pool.take(Medium16K).expect("room");
    let mut then = pool.take(Medium16K).expect("room");
    assert_eq!((start_of(&mut again), start_of(&mut then)), (first_start, second_start));
    assert_eq!(pool.stats().bytes_allocated, 2 * 16_384, "nothing was allocated anew");
}

#[test]
fn free_buffers_of_other_classes_make_room() {
    let pool = pool_of(65_536 + 4096);
    let small: Vec<_> = (0..17).map(|_| pool.take(Small4K).expect("room")).collect();
    drop(small);
    assert_eq!(pool.stats().free, [17, 0, 0]);
    let large = pool.take(Large64K).expect("free small buffers give way");
    let stats = pool.stats();
    assert_eq!((stats.free, stats.taken), ([1, 0, 0], [0, 0, 1]), "no more than was needed");
    let small = pool.take(Small4K).expect("the one that was kept");
    assert!(pool.take(Small4K).is_none());
    drop(large);
    assert!(pool.take(Medium16K).is_some());
    drop(small);
}

#[test]
fn a_refused_take_releases_nothing() {
    let pool = pool_of(65_536);
    let kept = pool.take(Small4K).expect("room");
    drop(pool.take(Medium16K));
    assert!(pool.take(Large64K).is_none());
    assert_eq!(pool.stats().free, [0, 1, 0]);
    drop(kept);
}

#[test]
fn trim_frees_what_is_free_and_only_that() {
    let pool = pool_of(1 << 20);
    let mut kept = pool.take(Small4K).expect("room");
    kept.extend_from_slice(b"kept");
    drop((pool.take(Small4K), pool.take(Medium16K), pool.take(Large64K)));
    assert_eq!(pool.trim(), 4096 + 16_384 + 65_536);
    assert_eq!(pool.trim(), 0);
    let stats = pool.stats();
    assert_eq!((stats.free, stats.taken, stats.bytes_allocated), ([0; 3], [1, 0, 0], 4096));
    assert_eq!(&kept[..], b"kept");
}

#[test]
fn no_more_is_kept_than_was_asked_for() {
    let pool = BufferPool::new(PoolOptions::new().keep_bytes_max(2 * 4096));
    let taken: Vec<_> = (0..5).map(|_| pool.take(Small4K).expect("room")).collect();
    drop(taken);
    assert_eq!(pool.stats().free, [2, 0, 0]);
    drop(pool.take(Large64K));
    assert_eq!(pool.stats().free, [2, 0, 0], "the large one went at once");
    assert_eq!(pool.stats().bytes_allocated, 2 * 4096);
}

#[test]
fn a_lack_of_memory_is_a_refusal_and_leaves_the_accounts_right() {
    let pool = pool_of(1 << 20);
    let told = counted_returns(&pool);
    pool.want();
    fail_the_next_allocation();
    assert!(pool.take(Large64K).is_none());
    let stats = pool.stats();
    assert_eq!((stats.taken, stats.bytes_allocated, stats.refused), ([0; 3], 0, 1));
    assert_eq!(told.load(Ordering::Relaxed), 1, "the room it had reserved is announced");
    assert!(pool.take(Large64K).is_some());
}

fn counted_returns(pool: &BufferPool) -> Arc<AtomicUsize> {
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    pool.set_on_return(Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    told
}

#[test]
fn a_return_is_told_once_and_only_when_it_is_wanted() {
    let pool = pool_of(1 << 20);
    let told = counted_returns(&pool);
    drop(pool.take(Small4K));
    assert_eq!(told.load(Ordering::Relaxed), 0);
    let (first, second) = (pool.take(Small4K), pool.take(Small4K));
    pool.want();
    pool.want();
    drop(first);
    assert_eq!(told.load(Ordering::Relaxed), 1);
    drop(second);
    assert_eq!(told.load(Ordering::Relaxed), 1);
    pool.want();
    drop(pool.take(Large64K));
    assert_eq!(told.load(Ordering::Relaxed), 2);
}

#[test]
fn a_return_is_told_where_the_buffer_is_not_kept() {
    for options in [PoolOptions::new().keep_bytes_max(0), PoolOptions::new().quarantine(true)] {
        let pool = BufferPool::new(options.bytes_max(4096));
        let told = counted_returns(&pool);
        let taken = pool.take(Small4K);
        pool.want();
        assert!(pool.take(Small4K).is_none());
        drop(taken);
        assert_eq!(told.load(Ordering::Relaxed), 1);
        assert!(pool.take(Small4K).is_some());
    }
}

#[test]
fn the_function_that_is_told_may_call_the_pool() {
    let pool = pool_of(4096);
    let weak = Arc::downgrade(&pool.shared);
    let (sender, receiver) = mpsc::channel();
    pool.set_on_return(Box::new(move || {
        let shared = weak.upgrade().expect("the returning buffer keeps the pool");
        let pool = BufferPool { shared };
        let told = (pool.take(Small4K), pool.live(), pool.trim());
        sender.send(told).expect("the test listens");
    }));
    let taken = pool.take(Small4K);
    pool.want();
    drop(taken);
    let (again, live, trimmed) = receiver.recv().expect("it was called");
    assert!(again.is_some());
    assert_eq!((live, trimmed), (1, 0));
}

/// In each round one buffer comes back, and every waiting thread is to have it once, one after the
/// other. Nobody takes it twice in a round, so no later return makes up for a wake-up that got
/// lost: a thread would wait for ever.
#[test]
fn no_wake_up_is_lost() {
    const WAITERS: usize = 2;
    const ROUNDS: usize = if cfg!(miri) { 10 } else { 3000 };
    let pool = pool_of(4096);
    let returns = Arc::new((Mutex::new(0_u64), Condvar::new()));
    let told = Arc::clone(&returns);
    pool.set_on_return(Box::new(move || {
        *told.0.lock().expect("no holder panics") += 1;
        told.1.notify_all();
    }));
    let take_or_wait = || loop {
        let seen = *returns.0.lock().expect("no holder panics");
        pool.want();
        if let Some(buffer) = pool.take(Small4K) {
            return buffer;
        }
        let count = returns.0.lock().expect("no holder panics");
        drop(returns.1.wait_while(count, |count| *count == seen).expect("no holder panics"));
    };
    let round = Barrier::new(1 + WAITERS);
    thread::scope(|scope| {
        for _ in 0..WAITERS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    round.wait();
                    drop(take_or_wait());
                    round.wait();
                }
            });
        }
        for _ in 0..ROUNDS {
            let buffer = pool.take(Small4K).expect("nobody has it between two rounds");
            round.wait();
            drop(buffer);
            round.wait();
        }
    });
    assert_eq!(pool.live(), 0);
    assert_eq!(pool.stats().bytes_allocated, 4096);
}

#[test]
fn threads_that_share_a_pool_never_share_a_buffer() {
    const ROUNDS: usize = if cfg!(miri) { 10 } else { 1000 };
    let pool = pool_of(6 * 4096);
    thread::scope(|scope| {
        for mark in 0..4_u8 {
            let pool = pool.clone();
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let (first, second) = (pool.take(Small4K), pool.take(Small4K));
                    for mut buffer in [first, second].into_iter().flatten() {
                        buffer.extend_from_slice(&[mark; 64]);
                        thread::yield_now();
                        assert!(buffer.iter().all(|&byte| byte == mark));
                    }
                }
            });
        }
    });
    let stats = pool.stats();
    assert_eq!(stats.taken, [0; 3]);
    assert!(stats.bytes_allocated <= stats.bytes_max);
}

#[test]
fn a_pool_is_dropped_with_buffers_still_taken() {
    let pool = pool_of(1 << 20);
    let told = counted_returns(&pool);
    drop((pool.take(Small4K), pool.take(Large64K)));
    let mut late = pool.take(Medium16K).expect("room");
    pool.want();
    drop(pool);
    late.extend_from_slice(b"still mine");
    assert_eq!(&late[..], b"still mine");
    drop(late);
    assert_eq!(told.load(Ordering::Relaxed), 1);
    assert_eq!(Arc::strong_count(&told), 1, "the pool is gone with its last buffer");
}

#[derive(Clone, Debug)]
enum Step {
    Take(SizeClass),
    Drop(prop::sample::Index),
    Trim,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let class = prop::sample::select(SizeClass::ALL.to_vec());
    let step = prop_oneof![
        6 => class.prop_map(Step::Take),
        5 => any::<prop::sample::Index>().prop_map(Step::Drop),
        1 => Just(Step::Trim),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_sequence_keeps_the_accounts(
        steps in steps(),
        bytes_max in 0..200_000_usize,
        keep_bytes_max in prop_oneof![Just(usize::MAX), 0..100_000_usize],
        is_quarantine: bool,
    ) {
        let options = PoolOptions::new()
            .bytes_max(bytes_max)
            .keep_bytes_max(keep_bytes_max)
            .quarantine(is_quarantine);
        let pool = BufferPool::new(options);
        let mut taken: Vec<(PooledBuffer, u8)> = Vec::new();
        let (mut refused, mut dropped) = (0, 0);
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Take(class) => {
                    let live_bytes: usize = taken.iter().map(|(buffer, _)| buffer.capacity()).sum();
                    let fits = live_bytes + class.bytes() <= bytes_max;
                    let buffer = pool.take(class);
                    prop_assert_eq!(buffer.is_some(), fits, "refused only at the bound");
                    refused += u64::from(buffer.is_none());
                    if let Some(mut buffer) = buffer {
                        prop_assert!(buffer.is_empty());
                        let mark = number as u8;
                        buffer.extend_from_slice(&[mark; 32]);
                        taken.push((buffer, mark));
                    }
                }
                Step::Drop(index) if !taken.is_empty() => {
                    let (buffer, mark) = taken.swap_remove(index.index(taken.len()));
                    prop_assert_eq!(&buffer[..], &[mark; 32]);
                    dropped += 1;
                }
                Step::Drop(_) => {}
                Step::Trim => {
                    pool.trim();
                    prop_assert_eq!(pool.stats().free, [0; 3]);
                }
            }
            let stats = pool.stats();
            let count = |class| taken.iter().filter(|(buffer, _)| buffer.class() == class).count();
            prop_assert_eq!(stats.taken, SizeClass::ALL.map(count));
            prop_assert_eq!(stats.refused, refused);
            let bytes = |counts: [usize; 3]| -> usize {
                SizeClass::ALL.iter().map(|class| counts[class.index()] * class.bytes()).sum()
            };
            prop_assert_eq!(stats.bytes_allocated, bytes(stats.taken) + bytes(stats.free));
            prop_assert!(stats.bytes_allocated <= bytes_max);
            prop_assert!(bytes(stats.free) <= keep_bytes_max);
            prop_assert_eq!(pool.live(), taken.len());
        }
        prop_assert_eq!(pool.check_quarantine(), Ok(if is_quarantine { dropped } else { 0 }));
        drop(pool);
        for (buffer, mark) in taken {
            prop_assert_eq!(&buffer[..], &[mark; 32]);
        }
    }
}

#[test]
fn the_last_buffers_may_come_back_at_once_after_the_pool_is_gone() {
    let barrier = &Barrier::new(2);
    let (send, receive) = mpsc::channel::<PooledBuffer>();
    let rounds = 3_000;
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..rounds {
                let buffer = receive.recv().expect("the other end is there");
                barrier.wait();
                drop(buffer);
            }
        });
        for round in 0..rounds {
            let pool = BufferPool::new(PoolOptions::new());
            let calls = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&calls);
            pool.set_on_return(Box::new(move || {
                counted.fetch_add(1, Ordering::Relaxed);
            }));
            let mine = pool.take(SizeClass::Small4K).expect("room");
            let other = pool.take(SizeClass::Small4K).expect("room");
            let is_wanted = round % 2 == 0;
            if is_wanted {
                pool.want();
            }
            drop(pool);
            send.send(other).expect("the other end is there");
            barrier.wait();
            drop(mine);
            assert!(calls.load(Ordering::Relaxed) <= usize::from(is_wanted));
        }
    });
}

#[cfg(any(feature = "futures-io", feature = "hyper"))]
#[test]
fn buffers_to_send_leave_half_of_the_bound_to_others() {
    let pool = BufferPool::new(PoolOptions::new().bytes_max(4 * 4096));
    let take = || pool.take_for_sending(SizeClass::Small4K);
    let first = take().expect("an empty pool has room");
    let second = take().expect("it is the other quarter of that half");
    assert!(take().is_none() && pool.take_for_sending(SizeClass::Medium16K).is_none());
    let rest = [pool.take(SizeClass::Small4K), pool.take(SizeClass::Small4K)];
    assert!(rest.iter().all(Option::is_some), "the other half is there");
    drop((first, rest));
    let again = take().expect("free buffers do not count");
    drop((second, again));
}
