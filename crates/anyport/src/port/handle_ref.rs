//! What socket and file handles have in common: a place in the port, and the count of duplicates.

use super::member::Membership;
use super::port::{CompletionPort, PortInner};
#[cfg(any(feature = "futures-io", feature = "hyper"))]
use crate::buf::BufferPool;
use crate::buf::Buffers;
use crate::error::{Error, ErrorKind};
use crate::op::{HandleCore, Operation, Spec};
use crate::sys::{Association, Descriptor};
use std::fmt;
use std::sync::Arc;

/// What can be associated with a port: a [`Socket`](crate::net::Socket) or a
/// [`File`](crate::fs::File). Implemented by this crate only.
pub trait Associate<T: Send + 'static>: Sized + private::Sealed {
    /// What operations are started on.
    type Handle;

    /// Use [`CompletionPort::associate`].
    ///
    /// # Errors
    /// See there.
    #[doc(hidden)]
    fn associate(
        self,
        port: &CompletionPort<T>,
        key: usize,
    ) -> Result<Self::Handle, AssociateError<Self>>;
}

mod private {
    pub trait Sealed {}
    impl Sealed for crate::net::Socket {}
    impl Sealed for crate::fs::File {}
}

/// A handle that was not associated; it is as it was.
#[derive(Debug)]
pub struct AssociateError<R> {
    /// Why.
    pub error: Error,
    /// The socket or file.
    pub resource: R,
}

impl<R> fmt::Display for AssociateError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<R: fmt::Debug> std::error::Error for AssociateError<R> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// An operation that did not start: no packet will come of it.
pub struct Rejected<T> {
    /// Why.
    pub error: Error,
    /// As given to the start.
    pub context: T,
    /// Every buffer that was given to the start.
    pub buffers: Buffers,
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> fmt::Debug for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> std::error::Error for Rejected<T> {}

/// A duplicate of an associated handle.
pub(crate) struct HandleRef<T: Send + 'static> {
    port: Arc<PortInner<T>>,
    core: Option<Arc<HandleCore>>,
}

impl<T: Send + 'static> HandleRef<T> {
    /// Associates a descriptor.
    ///
    /// # Errors
    /// The descriptor comes back.
    pub(crate) fn new(
        port: &CompletionPort<T>,
        mut descriptor: Descriptor,
        key: usize,
        association: Option<Association>,
    ) -> Result<Self, (Error, Descriptor)> {
        let port = Arc::clone(port.inner());
        if port.core.refuses_starts() {
            return Err((Error::new(ErrorKind::Closed, "associate a handle"), descriptor));
        }
        if let Err(error) = port.core.backend().attach(&mut descriptor) {
            return Err((error, descriptor));
        }
        let core = Arc::new(HandleCore::new(Arc::clone(&port.core), descriptor, key, association));
        Ok(HandleRef { port, core: Some(core) })
    }

    pub(crate) fn core(&self) -> &Arc<HandleCore> {
        self.core.as_ref().expect("only taken when the handle is given up")
    }

    #[cfg(any(feature = "futures-io", feature = "hyper"))]
    pub(crate) fn pool(&self) -> &BufferPool {
        self.port.core.pool()
    }

    pub(crate) fn start(&self, spec: Spec, context: T) -> Result<Operation, Rejected<T>> {
        self.start_with(spec, context, None)
    }

    pub(crate) fn start_stream(&self, spec: Spec, context: T) -> Result<Operation, Rejected<T>>
    where
        T: Clone,
    {
        self.start_with(spec, context, Some(T::clone))
    }

    pub(crate) fn cancel(&self, operation: Operation) -> Result<(), Error> {
        self.port.core.cancel(self.lane(), self.core(), operation)
    }

    pub(crate) fn cancel_all(&self) -> Result<usize, Error> {
        self.port.core.cancel_all(self.core())
    }

    /// Ends the association.
    ///
    /// # Errors
    /// The handle, when another duplicate exists or an operation is under way.
    pub(crate) fn into_descriptor(mut self) -> Result<Descriptor, Self> {
        if !self.core().is_only_duplicate() || !self.core().is_idle() {
            return Err(self);
        }
        let core = self.core.take().expect("it is only taken here and in drop");
        match Arc::try_unwrap(core) {
            Ok(core) => core.into_descriptor().ok_or(self),
            // An operation that is over has not let go yet.
            Err(core) => {
                self.core = Some(core);
                Err(self)
            }
        }
    }

    fn start_with(
        &self,
        spec: Spec,
        context: T,
        clone: Option<fn(&T) -> T>,
    ) -> Result<Operation, Rejected<T>> {
        let mut context = Some(context);
        let started = self.port.core.start(self.lane(), self.core(), spec, |index| {
            if let Some(context) = context.take() {
                // SAFETY: `Core::start` calls this with the lock of the new operation held, after it
                // has seen that the port is open.
                unsafe { self.port.contexts.put(index, context, clone) };
            }
        });
        match (started, context) {
            (Ok(operation), _) => Ok(operation),
            (Err((error, buffers)), Some(context)) => Err(Rejected { error, context, buffers }),
            (Err(_), None) => unreachable!("a start that fails has placed no context"),
        }
    }

    fn lane(&self) -> usize {
        let clerk_lane = self.port.core.backend().clerk_lane();
        Membership::lane_of_caller(&self.port.crew, clerk_lane)
    }
}

impl<T: Send + 'static> Clone for HandleRef<T> {
    fn clone(&self) -> Self {
        self.core().add_duplicate();
        HandleRef { port: Arc::clone(&self.port), core: self.core.clone() }
    }
}

impl<T: Send + 'static> Drop for HandleRef<T> {
    fn drop(&mut self) {
        if let Some(core) = self.core.take()
            && core.remove_duplicate()
        {
            self.port.core.close_handle(&core);
        }
    }
}
