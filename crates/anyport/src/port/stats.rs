//! What a port tells of itself.

/// Counters of a port since it was made, and what is there now. Taken without stopping anything:
/// figures of one reading need not fit each other to the last unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Packets handed out.
    pub packets: u64,
    /// Operations started.
    pub operations_started: u64,
    /// Starts refused.
    pub operations_rejected: u64,
    /// Operations under way, and packets of operations not taken yet.
    pub operations_live: usize,
    /// Posted packets not taken yet.
    pub posted_waiting: usize,
    /// Packets taken from another thread's queue.
    pub stolen: u64,
    /// Threads that were found blocked, or said that they would block.
    pub blocked: u64,
    /// Threads of the port: those whose last `get` was on it, and that have not ended.
    pub threads: usize,
    /// Threads that may take packets now; at most the concurrency value, but for moments.
    pub threads_active: usize,
    /// Threads that wait because the concurrency value is reached.
    pub threads_parked: usize,
}
