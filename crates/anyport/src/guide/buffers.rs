//! Buffers: who owns memory and when, the pool and its size classes, buffers of your own, limits.
//!
//! # Ownership
//!
//! The kernel may read or write an operation's buffers at any time between its start and its end.
//! So an operation takes its [`Buffers`](crate::buf::Buffers) by value and gives them back with its
//! packet; meanwhile nobody can touch them. Moving a [`Buffer`](crate::buf::Buffer) does not move
//! its bytes, and neither taking one nor giving it back copies them.
//!
//! ```
//! use anyport::rt::{Runtime, net::TcpStream};
//! # use std::io::Read;
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?;
//! # let peer = std::thread::spawn(move || {
//! #     std::io::copy(&mut listener.accept()?.0, &mut std::io::sink())
//! # });
//!
//! Runtime::new()?.block_on(async {
//!     let mut stream = TcpStream::connect(address).await?;
//!     let line = String::from("the same memory, again and again\n").into_bytes();
//!     let (sent, buffers) = stream.write(line).await;
//!     assert_eq!(sent?, 33);
//!     // It is the vector that went in.
//!     let line = buffers.into_one().and_then(|buffer| buffer.into_vec().ok());
//!     assert_eq!(line.map(|line| line.len()), Some(33));
//!     Ok::<(), anyport::Error>(())
//! })?;
//! # peer.join().expect("no panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Dropping a handle, a stream or the port *asks* for the end of what is under way. The memory is
//! freed when the kernel has said that it is done; no drop waits for that.
//!
//! # What can be a buffer
//!
//! | made from | can be received into | for |
//! |---|---|---|
//! | `Vec<u8>` | yes, up to its capacity | most things |
//! | `Box<[u8]>` | yes, its whole length | fixed memory; its length does not tell what came |
//! | [`BytesMut`](bytes::BytesMut) | yes, its capacity from its start | codecs |
//! | [`Bytes`](bytes::Bytes) | no | one text to many connections, without a copy |
//! | `&'static [u8]`, `&'static str` | no | constants |
//! | [`PooledBuffer`](crate::buf::PooledBuffer) | yes, its class | what a pooled receive brought |
//! | [`StableBuffer`](crate::buf::StableBuffer) | as you say | memory of your own kind: shared, mapped, aligned |
//!
//! Several make one operation: up to [`BUFFERS_MAX`](crate::buf::BUFFERS_MAX) are sent, or filled,
//! in their order. So a head and a body need not be copied into one.
//!
//! # The pool
//!
//! A server with many connections cannot give each a buffer that waits for bytes. A *pooled*
//! receive ([`receive_pooled`](crate::net::SocketHandle::receive_pooled),
//! [`receive_stream`](crate::net::SocketHandle::receive_stream), and
//! [`recv`](crate::rt::net::TcpStream::recv) of a task) takes a buffer from the port's
//! [`BufferPool`](crate::buf::BufferPool) when bytes arrive. Idle connections hold none. The buffer
//! goes back to the pool when it is dropped; one that you received may be sent as it is.
//!
//! There are three sizes, [`SizeClass`](crate::buf::SizeClass): 4, 16 and 64 KiB. A connection
//! begins with 16 KiB. Receives that fill their buffer and leave bytes behind make it grow, two in
//! a row or a third of all; 256 in a row that the class below would have held make it shrink. It
//! grows only where the pool can hold 256 buffers of the larger class.
//! [`set_receive_class`](crate::rt::net::TcpStream::set_receive_class) fixes the class of one
//! connection, [`fixed_receive_class`](crate::PortBuilder::fixed_receive_class) that of all.
//!
//! Keep a pooled buffer only as long as you work with it. To keep ten bytes of it for long, copy
//! them: the whole buffer counts.
//!
//! # What limits do
//!
//! The pool holds 256 MiB at most unless
//! [`PoolOptions::bytes_max`](crate::buf::PoolOptions::bytes_max) says otherwise, of which 64 MiB
//! stay when nobody uses them ([`keep_bytes_max`](crate::buf::PoolOptions::keep_bytes_max)). At the
//! bound pooled receives *wait* for a buffer that comes back. No byte is lost and nothing fails:
//! the peers' sends wait, as TCP makes them. But if all buffers are in your hands and each waits
//! for a further receive, nobody goes on. Bound what you keep.
//!
//! | what piles up | bound | at the bound |
//! |---|---|---|
//! | what a stream's task does not take | 8 pieces a stream, and what comes before the pause takes effect | receiving pauses |
//! | packets of a receive stream for a handler | [`stream_backlog_max`](crate::PortBuilder::stream_backlog_max), 16 | receiving pauses |
//! | what a task has handed to [`send`](crate::rt::net::TcpStream::send) | 256 KiB a stream, and the last one | a further `send` waits |
//! | sends that a handler has started | none but [`operations_max`](crate::PortBuilder::operations_max) | yours to bound: start the next receive when the send is over |
//!
//! So a task that receives from one stream and sends to another, as the example `proxy` does, has a
//! bound on its memory without doing anything for it.
