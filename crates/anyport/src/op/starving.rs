//! Operations that wait for a buffer of the pool to come back.

use super::body::{Body, Phase};
use super::core::Core;
use super::name::OperationKind;
use crate::buf::SizeClass;
use crate::latch::LatchGuard;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

impl Core {
    /// The operation waits for a pooled buffer to come back.
    pub(super) fn starve(&self, serving: usize, mut body: LatchGuard<'_, Body>) {
        body.phase = Phase::Starved;
        let token = body.token();
        drop(body);
        self.starved.lock().unwrap_or_else(PoisonError::into_inner).push(token);
        // First the wish, then another look: a buffer that came back in between is not missed.
        self.pool().want();
        self.retry_starved_now(serving);
    }

    pub(super) fn retry_starved(&self, serving: usize) {
        self.has_returned_buffer.store(false, Ordering::Release);
        self.retry_starved_now(serving);
    }

    fn retry_starved_now(&self, serving: usize) {
        let tokens =
            std::mem::take(&mut *self.starved.lock().unwrap_or_else(PoisonError::into_inner));
        for (i, token) in tokens.iter().enumerate() {
            let mut body = self.table.lock(token.index());
            if !body.is_current(*token) || body.phase != Phase::Starved {
                continue;
            }
            let class = match body.handle.as_ref() {
                Some(handle) => handle.receive_class(),
                None => continue,
            };
            // What a lane has lent to the kernel is of no use to a transmission.
            let is_transmission = body.kind == OperationKind::TransmitFile;
            let has_room = || match is_transmission {
                true => self.pool().take(SizeClass::Small4K).is_some(),
                false => self.backend().replenish(serving, class),
            };
            if !has_room() {
                drop(body);
                let mut starved = self.starved.lock().unwrap_or_else(PoisonError::into_inner);
                starved.extend_from_slice(&tokens[i..]);
                drop(starved);
                // List, wish, look: a buffer that came back before the wish has told nobody.
                self.pool().want();
                if has_room() {
                    self.has_returned_buffer.store(true, Ordering::Release);
                    self.call_on_ready();
                }
                return;
            }
            body.phase = Phase::AtWork;
            if let Some(completion) = self.first_attempt(serving, body) {
                self.push_ready(serving, completion);
            }
        }
    }
}
