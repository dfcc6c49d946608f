//! What is asked of a backend: one attempt at an operation, under a name that its event bears again.

use super::system::message::Message;
use crate::buf::SizeClass;
use std::num::NonZeroU64;

/// Names one request: the operation's index, its generation, and nothing else.
///
/// The generation is what keeps a late event or cancel from meeting the operation's successor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Token(NonZeroU64);

/// Set in every token, so that an `Option` of one takes no more room; in no kernel word.
const TOKEN_MARK: u64 = 1 << 63;

/// The bits of a token that name its request.
const TOKEN_BITS: u64 = 0x00ff_ffff_ffff_ffff;

/// Generations are 24 bits wide: they share a kernel word of 64 with a 32-bit index and 8 bits
/// that a backend keeps for itself.
pub(crate) const GENERATION_MASK: u32 = 0x00ff_ffff;

impl Token {
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        let bits = ((generation & GENERATION_MASK) as u64) << 32 | index as u64;
        Token::marked(bits)
    }

    const fn marked(bits: u64) -> Self {
        Token(NonZeroU64::new(TOKEN_MARK | bits).expect("the mark is set"))
    }

    #[cfg_attr(windows, allow(dead_code))]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Token::marked(bits & TOKEN_BITS)
    }

    #[cfg_attr(windows, allow(dead_code))]
    pub(crate) fn bits(self) -> u64 {
        self.0.get() & TOKEN_BITS
    }

    pub(crate) fn index(self) -> u32 {
        self.0.get() as u32
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32 & GENERATION_MASK
    }
}

/// A piece of memory that a request reads from or writes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    pub(crate) ptr: *mut u8,
    pub(crate) len: usize,
}

/// A region of a file's transfer, shortened to what systems move at once; the transfer goes on
/// where it stopped. Packed, so that a request, of which each waiting socket keeps one, stays small.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
pub(crate) struct FileRegion {
    ptr: *mut u8,
    len: u32,
}

impl FileRegion {
    /// A whole number of pages below 2 GiB.
    const LEN_MAX: usize = 0x7fff_f000;

    pub(crate) fn of(region: Region) -> Self {
        FileRegion { ptr: region.ptr, len: region.len.min(Self::LEN_MAX) as u32 }
    }

    pub(crate) fn region(self) -> Region {
        Region { ptr: self.ptr, len: self.len as usize }
    }
}

/// One attempt at an operation. Not every backend needs all that it says.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(windows, allow(dead_code))]
pub(crate) enum Request {
    /// Receive into one region.
    Receive(Region),
    /// Receive into the regions of a message, with the sender's address.
    ReceiveMessage(*mut Message),
    /// Receive once into a pooled buffer that is chosen when the bytes are there.
    ReceivePooled(SizeClass),
    /// As `ReceivePooled`, again and again while the backend can (`more`).
    ReceiveStream(SizeClass),
    /// Wait until there is something to receive, and take nothing.
    Readable,
    /// Wait until there is room to send.
    Writable,
    /// Send what goes without waiting; `WouldBlock` when nothing does.
    Send(Region),
    /// As `Send`, gathering the regions of a message, to its address if it has one.
    SendMessage(*mut Message),
    /// Accept one connection.
    Accept,
    /// Accept connections while the backend can (`more`).
    AcceptStream,
    /// Connect to the address of the message.
    Connect(*mut Message),
    /// Read from a file at an offset.
    ReadAt(FileRegion, u64),
    /// Scatter read from a file at an offset.
    ReadMessageAt(*mut Message, u64),
    /// Write to a file at an offset.
    WriteAt(FileRegion, u64),
    /// Gather write to a file at an offset.
    WriteMessageAt(*mut Message, u64),
}

impl Request {
    /// A transfer from or to a file.
    pub(crate) fn is_of_file(&self) -> bool {
        matches!(
            self,
            Request::ReadAt(..)
                | Request::ReadMessageAt(..)
                | Request::WriteAt(..)
                | Request::WriteMessageAt(..)
        )
    }
}

/// What a request is, without the memory that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// Moves bytes from or to regions, or connects.
    Transfer,
    /// Moves bytes from or to the regions of a message.
    TransferMessage,
    ReceivePooled(SizeClass),
    Readable,
    Writable,
    Accept,
}

impl Request {
    /// See [`RequestKind`].
    pub(crate) fn kind(&self) -> RequestKind {
        match *self {
            Request::ReceiveMessage(_) | Request::SendMessage(_) => RequestKind::TransferMessage,
            Request::ReceivePooled(class) | Request::ReceiveStream(class) => {
                RequestKind::ReceivePooled(class)
            }
            Request::Readable => RequestKind::Readable,
            Request::Writable => RequestKind::Writable,
            Request::Accept | Request::AcceptStream => RequestKind::Accept,
            Request::Receive(_)
            | Request::Send(_)
            | Request::Connect(_)
            | Request::ReadAt(..)
            | Request::ReadMessageAt(..)
            | Request::WriteAt(..)
            | Request::WriteMessageAt(..) => RequestKind::Transfer,
        }
    }
}

// SAFETY: a request only names memory; whoever issues it guarantees (see `Backend::issue`) that
// the memory stays where it is until the last event was taken, whichever thread takes it.
unsafe impl Send for Request {}

const _: () = assert!(size_of::<Request>() <= 24, "each waiting socket keeps a request");
