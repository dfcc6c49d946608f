//! Operations that end without a completion: quiet sends that the system has taken whole.
//!
//! They end while their lane's events are being taken. Only their numbers come out, for the layer
//! above to drop their contexts and release their slots when it holds no lock.

use super::body::Body;
use super::core::Core;
use crate::latch::LatchGuard;

/// Numbers of operations that have ended, and of which nobody is told.
#[derive(Default)]
pub(crate) struct QuietEnds {
    numbers: Vec<u32>,
}

impl QuietEnds {
    /// So many, and a thread looks at something else.
    const MAX: usize = 32;

    pub(super) fn push(&mut self, index: u32) {
        self.numbers.push(index);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.numbers.len() >= Self::MAX
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Takes them out, in the order in which they ended.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = u32> {
        self.numbers.drain(..)
    }
}

impl Core {
    /// Ends an operation of which nobody is told: nothing has to find a place before the next in
    /// line begins.
    pub(super) fn end_quietly(&self, serving: usize, mut body: LatchGuard<'_, Body>) {
        let (index, side) = (body.index, body.kind.side());
        let handle = body.handle.take();
        let buffers = body.buffers.take();
        body.retire();
        drop(body);
        drop(buffers);
        if let Some(handle) = handle {
            let next = self.unlink(&handle, &mut handle.state(), side, index);
            drop(handle);
            if let Some(next) = next {
                self.begin(serving, next);
            }
        }
    }
}
