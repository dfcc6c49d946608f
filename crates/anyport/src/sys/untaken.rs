//! Where no lane belongs to one thread there is nothing to take over.

use super::{Descriptor, RequestKind, Token};
use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// What `Backend::take_over` never gives here.
pub(crate) struct TakeOver<'a> {
    never: Infallible,
    _backend: PhantomData<&'a ()>,
}

impl TakeOver<'_> {
    pub(crate) fn take_staged(&mut self) -> Vec<Token> {
        match self.never {}
    }

    pub(crate) fn disown(
        &mut self,
        _request: RequestKind,
        _token: Token,
        _count: &Arc<AtomicUsize>,
    ) {
        match self.never {}
    }

    pub(crate) fn note_emptied(&self) {
        match self.never {}
    }

    pub(crate) fn ready_among<'d>(
        &self,
        _pending: impl Iterator<Item = (&'d Descriptor, RequestKind)>,
    ) -> Vec<bool> {
        match self.never {}
    }
}
