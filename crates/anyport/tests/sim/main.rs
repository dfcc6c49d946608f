//! Ports in simulated worlds: what a run promises, and what thousands of them find.

mod datagrams;
mod drops;
mod files;
mod mixed;
mod posts;
mod repeat;
mod streams;
mod threads;
mod time;
