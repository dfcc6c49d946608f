//! Containers: where io_uring is forbidden, and other limits that come from outside.
//!
//! # Where io_uring is forbidden
//!
//! Many container runtimes forbid io_uring by seccomp: the call fails with `EPERM`. Linux can also
//! switch it off for all (`kernel.io_uring_disabled`). A port finds that out when it is built,
//! takes the readiness backend, and says so:
//!
//! ```text
//! completion port: readiness (io_uring is forbidden here (EPERM, as container runtimes do)), concurrency value 2
//! ```
//!
//! Nothing else changes: the statements of `EXCEPTIONS.md` hold on both, and the same tests run on
//! both. What it costs is in the README. Readiness makes the ordinary calls for sockets, and
//! epoll's.
//!
//! To have io_uring there, permit `io_uring_setup`, `io_uring_enter` and `io_uring_register` in the
//! seccomp profile. To be sure of it, force it: `ANYPORT_BACKEND=io_uring` or
//! [`Builder::backend`](crate::rt::Builder::backend) make a missing backend an error.
//! [`available_backends`](crate::available_backends) lists what there is, with the reasons:
//!
//! ```
//! for (backend, available) in anyport::available_backends() {
//!     match available {
//!         Ok(()) => println!("{backend}: yes"),
//!         Err(reason) => println!("{backend}: {reason}"),
//!     }
//! }
//! ```
//!
//! The kernel is the host's. io_uring needs Linux 6.1 there, whatever the image is.
//!
//! # Locked memory
//!
//! New kernels (seen on 6.18) count the memory of rings towards the user's limit of locked memory
//! (`ulimit -l`), unless the process has `CAP_IPC_LOCK`. A ring with the default entries takes
//! about 200 KiB: 64 bytes for each of 1,024 submissions and 16 for each of 8,192 completions. A
//! port has a ring for each worker, up to twice the concurrency value, one more for each that may
//! run at a time, and one for the engine's own thread.
//!
//! Where the limit is too low for the rings that a port begins with, it takes readiness, and the
//! line at its start says so. Where io_uring was asked for by name, building it fails with
//! [`NoMemory`](crate::ErrorKind::NoMemory). A worker makes its own ring at its first turn; if the
//! limit is reached only then, it logs an error and shares a plain ring, which costs more CPU and
//! loses nothing.
//!
//! To have all the rings, raise the limit (`--ulimit memlock=...`, `LimitMEMLOCK=`), or give fewer
//! entries ([`Builder::submission_entries`](crate::rt::Builder::submission_entries) and
//! [`completion_entries`](crate::rt::Builder::completion_entries); what does not fit into a queue
//! waits elsewhere). The limit is of a user's processes together.
//!
//! # Descriptors
//!
//! Each connection needs one. A port on io_uring has one for each ring and a few more, a port on
//! readiness two. Images and services often begin with a soft limit of 1,024; the library does not
//! raise it. At the limit an accept fails with [`Limit`](crate::ErrorKind::Limit), connections that
//! are there go on, and blocked handlers are not found any more, since to look at a thread takes a
//! descriptor.
//!
//! # CPU limits
//!
//! The concurrency value follows what the process may use when the port is built: the cores of its
//! affinity mask, or fewer if a cgroup's quota is smaller (`docker run --cpus=2` gives 2). Of a
//! quota of less than a core, and of a fraction, that is the next smaller whole number, but at
//! least 1. A quota that changes later is not noticed; set
//! [`concurrency`](crate::rt::Builder::concurrency) yourself if you know better.
//!
//! A process that has used up its quota stands still until the next period. Threads that are held
//! back so are not taken for blocked.
//!
//! # Memory limits
//!
//! The pool of receive buffers has a bound of 256 MiB of its own, whatever the cgroup's limit is.
//! In a small container set [`PoolOptions::bytes_max`](crate::buf::PoolOptions::bytes_max) to what
//! you can spare. Connections cost beside that: the kernel's socket buffers, and up to 256 KiB
//! handed to `send` and not sent.
//!
//! # `/proc`
//!
//! Handlers that block unannounced are found with the help of `/proc/self/task`. Without it only
//! [`blocking`](crate::CompletionPort::blocking) and [`spawn_blocking`](crate::rt::spawn_blocking)
//! help.
//!
//! # The end
//!
//! Orchestrators send SIGTERM and kill after a while. Watch for it with
//! [`signal::shutdown_requested`](crate::rt::signal::shutdown_requested) *before* the server says
//! that it is ready, then let [`Runtime::shut_down`](crate::rt::Runtime::shut_down) have less time
//! than you are given. As process 1 of a container a program that does not watch for SIGTERM is not
//! ended by it at all.
