//! A guide to the library: what it does with your operations, and what that means for your program.
//!
//! | page | what it is about |
//! |---|---|
//! | [`completion`] | completion and readiness, and why a packet |
//! | [`buffers`] | who owns memory, the pool and its classes, buffers of your own, limits |
//! | [`cancel`] | what happens when a future is dropped, an operation cancelled, a time over |
//! | [`blocking`] | what happens when a handler or a task blocks |
//! | [`tuning`] | threads, backends, limits, variables, and what to look at |
//! | [`containers`] | where io_uring is forbidden, and other limits from outside |
//! | [`from_tokio`] | tokio's item, Anyport's, what differs |
//! | [`from_iocp`] | the Win32 call, Anyport's, what differs |
//!
//! There are two ways to use the library, and all pages speak of both. *Handlers* are functions
//! that take packets from a [`CompletionPort`](crate::CompletionPort), mostly on the threads of a
//! [`WorkerPool`](crate::WorkerPool). *Tasks* are futures on a [`Runtime`](crate::rt::Runtime),
//! which is a port and its workers.
//!
//! The programs in `examples/` show both at work: `echo` with handlers; `async_echo`, `chat`,
//! `proxy`, `file_server` and `timers` with tasks.

pub mod blocking;
pub mod buffers;
pub mod cancel;
pub mod completion;
pub mod containers;
pub mod from_iocp;
pub mod from_tokio;
pub mod tuning;
