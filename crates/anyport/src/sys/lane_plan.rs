//! Which lanes of a backend belong to threads, and which to whoever sits in a seat.

/// See the module documentation. Beside these there is the clerk's lane.
#[derive(Clone, Debug)]
pub(crate) struct LanePlan {
    /// So many, from 0: each belongs to one thread for as long as that lives, because the kernel
    /// ties what is under way there to it. 0: lanes are the same to every thread.
    pub(crate) of_threads: usize,
    /// By seat: the lane of a thread that sits there and has none of its own.
    pub(crate) of_seats: Vec<usize>,
}
