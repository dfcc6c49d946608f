//! The streams, the timers and the spawning of this runtime as the traits of other crates want them.
//!
//! A file for each of these crates, and a Cargo feature of its name. They know the layers beneath, and
//! nothing beneath knows them.

#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
pub mod hyper;
