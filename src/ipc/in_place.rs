// SPDX-License-Identifier: LGPL-2.1-or-later
//! What client and server share of messages in place: a message that is being written, one that is being looked at, and
//! the slot that says whether there is one.
//!
//! At most one message of each kind is open on a connection. No lock is held while it is: the slot is marked, and whoever
//! wants to send or receive the same kind meanwhile gets [`Error::Busy`] (another one in place: [`Error::InUse`]). Anything
//! else would have to guess the order: what is sent later cannot overtake room that is claimed earlier in the same lane.
//!
//! Callers that cannot keep a guard (C) leave the open message in its slot and come back for it. Its memory stays until
//! then, whatever becomes of the connection.

use super::client::Client;
use super::sealed::{Lent, Record, Room, Segment};
use super::service::buffers::{Buffer, Buffers};
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::sys::fork;
use crate::{Error, Result};
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

/// Whether a message of one kind is open, and the message while its owner is away.
pub(super) struct Slot<T> {
    taken: AtomicBool,
    left: Mutex<Option<T>>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { taken: AtomicBool::new(false), left: Mutex::new(None) }
    }
}

impl<T> Slot<T> {
    /// Whether a message is open. Certain under the channel's lock, under which it is opened.
    #[inline]
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    /// [`Error::Busy`] for somebody who wants to send or receive while a message is open.
    #[inline]
    pub fn ensure_free(&self) -> Result<()> {
        if self.is_taken() { Err(Error::Busy) } else { Ok(()) }
    }

    /// Marks the slot and makes a message for it; [`Error::InUse`] when one is open.
    pub fn open(&self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return Err(Error::InUse);
        }
        make().inspect_err(|_| self.close())
    }

    /// No message is open any more.
    pub fn close(&self) {
        self.taken.store(false, Ordering::Release);
    }

    /// Leaves the open message here.
    pub fn leave(&self, message: T) {
        *self.left.lock() = Some(message);
    }

    /// Takes back what was left.
    pub fn resume(&self) -> Option<T> {
        self.left.lock().take()
    }
}

/// A message that is being written: in the memory that its receiver reads, or in private memory.
pub(super) enum Draft {
    Sealed(Room),
    Private(Buffer, usize),
}

impl Draft {
    /// Bytes that may be written.
    pub fn len(&self) -> usize {
        match self {
            Self::Sealed(room) => room.len(),
            Self::Private(_, len) => *len,
        }
    }

    /// Copies `data` to `at`; [`Error::Invalid`] when it does not all fit.
    pub fn fill(&mut self, at: usize, data: &[u8]) -> Result<()> {
        match self {
            Self::Sealed(room) => room.fill(at, data),
            Self::Private(buffer, len) => {
                let end = at.checked_add(data.len()).ok_or(Error::Invalid)?;
                buffer.bytes(*len).get_mut(at..end).ok_or(Error::Invalid)?.copy_from_slice(data);
                Ok(())
            }
        }
    }

    /// The address, for C code: a multiple of 8, valid as long as the draft lives, wherever it is moved.
    pub fn address(&mut self) -> NonNull<u8> {
        match self {
            Self::Sealed(room) => room.address(),
            Self::Private(buffer, len) => NonNull::from(buffer.bytes(*len)).cast(),
        }
    }
}

/// A message that is being looked at.
pub(super) struct Held {
    pub memory: Memory,
    pub rest: Rest,
}

/// Where it is.
pub(super) enum Memory {
    /// Where its sender, who is vouched for, wrote it.
    Lent(Lent, Arc<Segment>),
    /// A copy.
    Private(Buffer, usize),
}

/// What has to be done when it is released.
pub(super) enum Rest {
    /// The record is still in its lane.
    Record(Record),
    /// The byte that announced it is still on the stream.
    Doorbell,
    /// The datagram is still in its socket.
    Datagram,
    /// Nothing: it was taken already.
    Nothing,
}

impl Held {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Lent(lent, segment) => lent.bytes(segment),
            Memory::Private(buffer, len) => buffer.read(*len),
        }
    }

    /// Address and length, for C code: valid as long as this lives, wherever it is moved.
    pub fn place(&self) -> (NonNull<u8>, usize) {
        match &self.memory {
            Memory::Lent(lent, segment) => (lent.address(segment), lent.len()),
            Memory::Private(buffer, len) => (NonNull::from(buffer.read(*len)).cast(), *len),
        }
    }
}

/// What a connection needs besides its slots.
pub(super) struct Workshop {
    /// Private memory that never holds anything of another connection.
    pub buffers: Buffers,
    generation: u32,
}

impl Default for Workshop {
    fn default() -> Self {
        fork::watch();
        Self { buffers: Buffers::default(), generation: fork::generation() }
    }
}

impl Workshop {
    /// Whether this is a forked child of the process that made the connection: what is open belongs to the parent.
    pub fn is_inherited(&self) -> bool {
        self.generation != fork::generation()
    }

    /// [`Error::Disconnected`] in such a child.
    pub fn ensure_own(&self) -> Result<()> {
        if self.is_inherited() { Err(Error::Disconnected) } else { Ok(()) }
    }

    /// A draft in private memory. [`Error::TooBig`] when there is not that much: a peer may have agreed on more.
    pub fn draft(&self, len: usize) -> Result<Draft> {
        let buffer = self.buffers.take(len).map_err(|_| Error::TooBig)?;
        Ok(Draft::Private(buffer, len))
    }

    /// Lets go of a draft's memory and frees its slot.
    pub fn discard(&self, slot: &Slot<Draft>, draft: Draft) {
        if let Draft::Private(buffer, _) = draft {
            self.buffers.put(buffer);
        }
        slot.close();
    }

    /// The same with what was left in the slot, if anything was.
    pub fn cancel(&self, slot: &Slot<Draft>) {
        if let Some(draft) = slot.resume() {
            self.discard(slot, draft);
        }
    }
}

/// Why a commit failed, and the draft if it is still open.
pub(super) type NotSent = (Error, Option<Draft>);

/// Who writes messages in place: a client its requests, a server's connection its events.
pub(super) trait Author {
    /// Where the message is while it is open, and what its memory goes back to.
    fn desk(&self) -> (&Slot<Draft>, &Workshop);

    /// Sends the first `len` bytes. The slot is free afterwards, unless the draft comes back.
    fn commit_draft(&self, draft: Draft, len: usize) -> std::result::Result<usize, NotSent>;

    /// Sends what [`Reserved::detach`] left; [`Error::Invalid`] when there is nothing.
    fn commit_left(&self, len: usize) -> Result<usize> {
        let (slot, _) = self.desk();
        let draft = slot.resume().ok_or(Error::Invalid)?;
        self.commit_draft(draft, len).map_err(|(e, draft)| {
            if let Some(draft) = draft {
                slot.leave(draft);
            }
            e
        })
    }
}

/// Room for one message: a request of a [`Client`], or an event ([`ReservedEvent`](super::ReservedEvent)). Dropping it before
/// [`Reserved::commit`] gives the room back.
#[must_use]
#[expect(private_bounds, reason = "only the two ends of a connection are authors")]
pub struct Reserved<'a, A: Author = Client> {
    author: &'a A,
    draft: Option<Draft>,
}

#[expect(private_bounds, reason = "see the type")]
impl<'a, A: Author> Reserved<'a, A> {
    pub(super) fn new(author: &'a A, draft: Draft) -> Self {
        Self { author, draft: Some(draft) }
    }

    /// Bytes that may be filled; 0 once it is committed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.draft.as_ref().map_or(0, Draft::len)
    }

    /// Whether nothing can be filled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies `data` to `offset` within the message. [`Error::Invalid`] when it does not all fit, and after the commit.
    pub fn fill(&mut self, offset: usize, data: &[u8]) -> Result<()> {
        self.draft.as_mut().ok_or(Error::Invalid)?.fill(offset, data)
    }

    /// Sends the first `len` bytes; a request has to begin with a request header. Errors as from [`Client::send`] and
    /// [`Connection::send_event`](super::Connection::send_event); after [`Error::Busy`] and [`Error::Invalid`] (for more
    /// than was reserved) the message is still there.
    pub fn commit(&mut self, len: usize) -> Result<usize> {
        let draft = self.draft.take().ok_or(Error::Invalid)?;
        self.author.commit_draft(draft, len).map_err(|(e, draft)| {
            self.draft = draft;
            e
        })
    }

    /// Leaves the message open, for callers that cannot keep this guard: [`Client::commit_reserved`] and
    /// [`Client::cancel_reserved`], and the functions of the same kind for events, find it again. The address is a multiple
    /// of 8, may be written until then and while the client lives or the connection is referenced, and is None after the
    /// commit.
    pub fn detach(mut self) -> Option<NonNull<u8>> {
        let mut draft = self.draft.take()?;
        let address = draft.address();
        self.author.desk().0.leave(draft);
        Some(address)
    }
}

impl<A: Author> Drop for Reserved<'_, A> {
    fn drop(&mut self) {
        if let Some(draft) = self.draft.take() {
            let (slot, workshop) = self.author.desk();
            workshop.discard(slot, draft);
        }
    }
}

impl<A: Author> fmt::Debug for Reserved<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserved").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_one_message_at_a_time() {
        let slot: Slot<u32> = Slot::default();
        assert_eq!(slot.ensure_free(), Ok(()));
        assert_eq!(slot.open(|| Err(Error::Busy)), Err(Error::Busy));
        assert_eq!(slot.open(|| Ok(1)), Ok(1));
        assert_eq!(slot.open(|| Ok(2)), Err(Error::InUse));
        assert_eq!(slot.ensure_free(), Err(Error::Busy));
        assert_eq!(slot.resume(), None, "its owner has it");
        slot.leave(1);
        assert_eq!((slot.resume(), slot.resume()), (Some(1), None));
        slot.close();
        assert_eq!(slot.open(|| Ok(3)), Ok(3));
    }

    #[test]
    fn a_private_draft_stays_where_it_is_and_within_its_bounds() {
        let workshop = Workshop::default();
        let mut draft = workshop.draft(10).unwrap();
        let before = draft.address();
        assert_eq!(before.as_ptr() as usize % 8, 0);
        draft.fill(2, b"abcdefgh").unwrap();
        assert_eq!(draft.fill(3, b"abcdefgh"), Err(Error::Invalid));
        assert_eq!(draft.fill(usize::MAX, b"ab"), Err(Error::Invalid));
        let slot = Slot::default();
        slot.leave(draft);
        let mut draft = slot.resume().unwrap();
        assert_eq!(draft.address(), before);
        assert_eq!(draft.len(), 10);
        // Used, or the allocation could be optimised away.
        let huge = std::hint::black_box(workshop.draft(std::hint::black_box(isize::MAX.cast_unsigned() / 2)));
        assert_eq!(huge.map(|_| ()), Err(Error::TooBig));
        let mut empty = workshop.draft(0).unwrap();
        assert_eq!(empty.fill(0, b"a"), Err(Error::Invalid));
        assert_eq!(empty.address().as_ptr() as usize % 8, 0);
    }
}
