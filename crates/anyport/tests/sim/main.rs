//! Ports in simulated worlds: what a run promises, and what thousands of them find.

mod choices;
mod datagrams;
mod drops;
mod files;
mod mixed;
mod posts;
mod repeat;
mod runtime;
mod streams;
mod threads;
mod time;
