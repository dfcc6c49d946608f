//! The methods of streams and of their halves, written once: TCP and local streams have both sets,
//! each half has one.

/// What receives. Its type has a `connection`.
macro_rules! receiving_methods {
    () => {
        /// The next bytes that arrive, in the pooled buffer in which they came; an empty buffer: the peer
        /// has ended its side.
        ///
        /// # Cancel safety
        /// No byte is lost: what arrives when nobody waits is the next one's.
        ///
        /// # Errors
        /// `Reset`, after the bytes that arrived before it.
        pub fn recv(
            &mut self,
        ) -> impl Future<Output = Result<$crate::buf::Buffer, $crate::Error>> + Send {
            let connection = &self.connection;
            connection.wait_to_receive(move |cx| connection.poll_recv(cx))
        }

        /// Receives into `buffer`, up to its capacity, and gives it back; 0 bytes: the peer has ended its
        /// side, or the buffer has no room.
        ///
        /// # Cancel safety
        /// No byte is lost: what arrives into a dropped future's buffer is delivered by the next read or
        /// [`recv`](Self::recv). The buffer is lost with the future.
        ///
        /// # Errors
        /// As [`recv`](Self::recv); `InvalidInput` for a read-only buffer.
        pub async fn read(
            &mut self,
            buffer: impl Into<$crate::buf::Buffer>,
        ) -> (Result<usize, $crate::Error>, $crate::buf::Buffer) {
            self.connection.read(buffer.into()).await
        }

        /// Copies what has arrived, or arrives next, into `out` and leaves it to be received; 0: the peer
        /// has ended its side, or `out` is empty.
        ///
        /// # Cancel safety
        /// Nothing is taken.
        ///
        /// # Errors
        /// As [`recv`](Self::recv).
        pub async fn peek(&mut self, out: &mut [u8]) -> Result<usize, $crate::Error> {
            self.connection.wait_to_receive(|cx| self.connection.poll_copy(cx, out, true)).await
        }

        /// See [`SocketHandle::set_receive_class`](crate::net::SocketHandle::set_receive_class).
        pub fn set_receive_class(&self, class: $crate::buf::SizeClass) {
            self.connection.socket.set_receive_class(class);
        }
    };
}
pub(super) use receiving_methods;

/// What sends, likewise.
macro_rules! sending_methods {
    () => {
        /// Hands bytes over to be sent, one buffer or several, in one operation: they go out in the order
        /// of the calls. Waits only while more than 256 KiB wait to be sent.
        ///
        /// `buffers` is converted by the call, and nothing sent before the future is polled.
        ///
        /// # Cancel safety
        /// Either all were handed over or none: before the future is ready the buffers are its own.
        ///
        /// # Errors
        /// What the sends before it failed with, such as `Reset`; `ShutDown` after a shutdown; `Limit`
        /// while the port has as many operations as it may. A failure after the bytes were handed over
        /// is told by the next call, and by [`flush`](Self::flush).
        pub fn send(
            &mut self,
            buffers: impl Into<$crate::buf::Buffers>,
        ) -> impl Future<Output = Result<(), $crate::Error>> + Send {
            let connection = &self.connection;
            let mut buffers = Some(buffers.into());
            connection.wait_to_send(move |cx| connection.poll_send(cx, &mut buffers))
        }

        /// As [`send`](Self::send), at once or not at all: while more than 256 KiB wait to be sent
        /// the buffers come back. For who would rather drop bytes than wait, or sends outside of a
        /// task; it can be called as often as one likes in one poll.
        ///
        /// # Errors
        /// [`is_full`](crate::rt::net::Unsent::is_full) when there is no room; else as
        /// [`send`](Self::send). The buffers come back either way;
        /// [`Error::transferred`](crate::Error::transferred) tells how many of the bytes went.
        #[allow(clippy::result_large_err, reason = "what was not handed over comes back")]
        pub fn try_send(
            &mut self,
            buffers: impl Into<$crate::buf::Buffers>,
        ) -> Result<(), $crate::rt::net::Unsent> {
            self.connection.try_send(buffers.into())
        }

        /// Sends `buffers`, one or several, and gives them back when the system has taken every byte; says
        /// how many those were.
        ///
        /// # Cancel safety
        /// The operation runs on with the buffers that it owns, and later ones follow it;
        /// [`bytes_sent`](Self::bytes_sent) tells how far it got.
        ///
        /// # Errors
        /// As [`send`](Self::send); [`Error::transferred`](crate::Error::transferred) tells how many of the bytes went.
        pub async fn write(
            &mut self,
            buffers: impl Into<$crate::buf::Buffers>,
        ) -> (Result<usize, $crate::Error>, $crate::buf::Buffers) {
            self.connection.write(buffers.into()).await
        }

        /// Sends `length` bytes of a file from `offset`, or what there is up to its end, after what was
        /// handed over before; the bytes need not pass through this program. Says how many those were.
        ///
        /// It holds up to 64 KiB of the runtime's pool until its end, also while the peer does not read:
        /// see [`SocketHandle::transmit_file`](crate::net::SocketHandle::transmit_file).
        ///
        /// # Cancel safety
        /// As [`write`](Self::write).
        ///
        /// # Errors
        /// As [`write`](Self::write), and what reading the file fails with.
        pub async fn send_file(
            &mut self,
            file: &$crate::rt::fs::File,
            offset: u64,
            length: Option<u64>,
        ) -> Result<usize, $crate::Error> {
            self.connection.send_file(file, offset, length).await
        }

        /// Waits until all that was handed over has gone to the system.
        ///
        /// # Cancel safety
        /// Nothing is lost.
        ///
        /// # Errors
        /// What a send has failed with.
        pub async fn flush(&mut self) -> Result<(), $crate::Error> {
            self.connection.flush().await
        }

        /// Ends the sending side after what was handed over; receiving goes on.
        ///
        /// # Cancel safety
        /// The operation runs on.
        ///
        /// # Errors
        /// `NotConnected`, or what the sends before it failed with; `ShutDown` when it was called
        /// before; `Limit` while the port has as many operations as it may.
        pub async fn shutdown(&mut self) -> Result<(), $crate::Error> {
            self.connection.shut_down().await
        }

        /// Bytes that the system has taken so far.
        pub fn bytes_sent(&self) -> u64 {
            self.connection.writing.bytes_sent()
        }
    };
}
pub(super) use sending_methods;
