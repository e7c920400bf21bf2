// SPDX-License-Identifier: LGPL-2.1-or-later
//! Signals: callbacks run from the loop, never in signal context.

use super::core::Loop;
use super::state::{Item, State};
use super::{Next, Priority};
use crate::error::{Error, Result};
use crate::sys::signal::{self, Port};
use crate::sys::wake::Wake;
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// Gets the signal's number. It is `Fn`, because a nested run may call it again before it returned.
pub type SignalFn = Arc<dyn Fn(i32) -> Next + Send + Sync>;

/// Names one registration of one loop; never 0, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalHandle(usize);

impl SignalHandle {
    /// A handle from its number, which may be nonsense.
    #[must_use]
    pub const fn from_raw(raw: usize) -> Self {
        Self(raw)
    }

    /// The number that names it in C.
    #[must_use]
    pub const fn raw(self) -> usize {
        self.0
    }
}

struct Registration {
    handle: SignalHandle,
    number: i32,
    prio: Priority,
    callback: SignalFn,
}

/// One call to make: what the registration was when the signal came.
pub(super) struct Delivery {
    pub(super) handle: SignalHandle,
    pub(super) number: i32,
    pub(super) callback: SignalFn,
}

/// All signal registrations of a loop, in order of addition.
#[derive(Default)]
pub(super) struct Signals {
    entries: Vec<Registration>,
    last: usize,
    /// Claimed with the first registration.
    port: Option<Port>,
}

impl Signals {
    /// Tells the handler which numbers to queue, and installs it for all of them.
    fn install(&self, uninstall: Option<i32>) {
        let Some(port) = &self.port else { return };
        port.want(self.entries.iter().fold(0, |set, r| set | signal::bit(r.number)));
        if let Some(number) = uninstall {
            signal::uncatch(number);
        }
        for registration in &self.entries {
            signal::catch(registration.number);
        }
    }

    fn handles(&self, number: i32) -> bool {
        self.entries.iter().any(|r| r.number == number)
    }

    /// True while signals wait to be queued.
    pub(super) fn is_pending(&self) -> bool {
        self.port.as_ref().is_some_and(Port::is_pending)
    }

    /// In a forked child, after the wake-up descriptor was reopened.
    pub(super) fn adopt(&self, wake: &Wake) {
        if let Some(port) = &self.port {
            port.adopt(wake.as_raw_fd());
        }
    }

    fn remove(&mut self, handle: SignalHandle) -> Option<SignalFn> {
        let at = self.entries.iter().position(|r| r.handle == handle)?;
        let gone = self.entries.remove(at);
        self.install(Some(gone.number));
        Some(gone.callback)
    }

    /// Forgets everything; handlers stay installed and swallow what comes. The closures are for the caller to drop.
    pub(super) fn clear(&mut self) -> Vec<SignalFn> {
        self.port = None;
        self.entries.drain(..).map(|r| r.callback).collect()
    }
}

impl State {
    /// Queues the oldest signal that came in, once for each of its registrations.
    #[inline]
    pub(super) fn collect_signal(&mut self) {
        if self.signals.is_pending() {
            self.queue_signal();
        }
    }

    #[cold]
    fn queue_signal(&mut self) {
        let Some(number) = self.signals.port.as_ref().and_then(Port::take) else { return };
        let deliveries: Vec<_> = self
            .signals
            .entries
            .iter()
            .filter(|r| r.number == number)
            .map(|r| (r.prio, Delivery { handle: r.handle, number, callback: Arc::clone(&r.callback) }))
            .collect();
        for (prio, delivery) in deliveries {
            self.level(prio).run.push_back(Item::Signal(delivery));
        }
    }

    /// Ends a registration and takes back its queued calls; everything returned is for the caller to drop.
    pub(super) fn remove_signal(&mut self, handle: SignalHandle) -> Option<Vec<SignalFn>> {
        let mut gone = vec![self.signals.remove(handle)?];
        for level in &mut self.levels {
            level.run.retain(|item| match item {
                Item::Signal(delivery) if delivery.handle == handle => {
                    gone.push(Arc::clone(&delivery.callback));
                    false
                }
                _ => true,
            });
        }
        Some(gone)
    }
}

impl Loop {
    /// Calls `callback` from the loop for each occurrence of the signal. Any number is accepted; those that cannot be
    /// caught have no effect. The earlier disposition is not saved.
    ///
    /// # Errors
    /// [`Error::Invalid`] after [`close`](Loop::close).
    pub fn signal_add(&self, prio: Priority, number: i32, callback: SignalFn) -> Result<SignalHandle> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Invalid);
        }
        let signals = &mut state.signals;
        if signals.port.is_none() {
            signals.port = Some(Port::claim(self.wake.as_raw_fd()));
        }
        let known = signals.handles(number);
        signals.last = signals.last.wrapping_add(1).max(1);
        let handle = SignalHandle(signals.last);
        signals.entries.push(Registration { handle, number, prio, callback });
        if !known {
            signals.install(None);
        }
        Ok(handle)
    }

    /// Replaces number, priority and callback. Calls queued already keep the old callback.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such registration.
    pub fn signal_mod(
        &self,
        handle: SignalHandle,
        prio: Priority,
        number: i32,
        callback: SignalFn,
    ) -> Result<()> {
        let mut state = self.lock();
        let signals = &mut state.signals;
        let Some(registration) = signals.entries.iter_mut().find(|r| r.handle == handle) else {
            return Err(Error::Invalid);
        };
        let old_number = std::mem::replace(&mut registration.number, number);
        registration.prio = prio;
        let old = std::mem::replace(&mut registration.callback, callback);
        if old_number != number {
            signals.install(Some(old_number));
        }
        drop(state);
        drop(old);
        Ok(())
    }

    /// Ends a registration and takes back its queued calls. Without another registration the signal gets its default
    /// action.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such registration.
    pub fn signal_del(&self, handle: SignalHandle) -> Result<()> {
        let gone = self.lock().remove_signal(handle);
        gone.map(drop).ok_or(Error::Invalid)
    }
}
