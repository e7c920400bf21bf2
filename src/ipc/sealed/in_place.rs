// SPDX-License-Identifier: LGPL-2.1-or-later
//! Messages in place: written where the receiver will find them, or looked at where the sender wrote them; and many messages
//! behind one announcement.
//!
//! Room that is claimed belongs to its sender until it is committed. The peer can store there as well, which changes the
//! sender's own words in its own message and nothing else: place and length stay in private memory.

use super::talk::Sent;
use super::{Bell, Lent, Listener, Record, Segment, Talker};
use crate::lane::Claim;
use crate::{Error, Result};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;

/// Room for one message that is being written. Keeps the memory mapped.
#[derive(Debug)]
pub(in crate::ipc) struct Room {
    claim: Claim,
    segment: Arc<Segment>,
    /// Where the data begins in the mapping.
    offset: usize,
}

impl Room {
    /// Bytes that may be written.
    pub fn len(&self) -> usize {
        self.claim.len()
    }

    /// Copies `data` to `at`; [`Error::Invalid`] when it does not all fit.
    pub fn fill(&self, at: usize, data: &[u8]) -> Result<()> {
        if at.checked_add(data.len()).is_none_or(|end| end > self.len()) {
            return Err(Error::Invalid);
        }
        self.segment.mapping.write(self.offset + at, data)
    }

    /// The address, for C code, which may write there. A multiple of 8.
    pub fn address(&self) -> NonNull<u8> {
        let place = self.segment.mapping.address(self.offset, self.len());
        place.unwrap_or(NonNull::<u64>::dangling().cast())
    }
}

impl Talker {
    /// Room for `len` bytes; nothing else may be sent before it is committed or dropped.
    pub fn reserve(&mut self, len: usize) -> Result<Room> {
        let claim = self.lane.claim(len)?;
        let cells = self.lane.cells();
        Ok(Room { offset: cells.offset + claim.offset(), segment: cells.segment.clone(), claim })
    }

    /// Sends the first `len` bytes of the room.
    pub fn commit(&mut self, room: Room, len: usize, stream: BorrowedFd<'_>) -> Result<Sent> {
        self.say_where();
        self.lane.commit(room.claim, len)?;
        Ok(Sent { bytes: len, bell: self.announce(stream) })
    }

    /// Sends messages as long as there is room, and one byte for all when the receiver sleeps. Returns how many; an error
    /// when there is not even room for the first one.
    pub fn send_many(&mut self, messages: &[&[u8]], stream: BorrowedFd<'_>) -> Result<(usize, Bell)> {
        let mut count = 0;
        for message in messages {
            match self.put(&[message]) {
                Ok(_) => count += 1,
                Err(e) if count == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok((count, self.announce(stream)))
    }
}

impl Listener {
    /// The next message, if it is there; [`Error::InUse`] when somebody has one already.
    pub fn peek_alone(&mut self) -> Result<Option<Record>> {
        if self.lane.holds() { Err(Error::InUse) } else { self.lane.peek() }
    }

    /// Leaves the message in the lane, as if it had not been looked at.
    pub fn put_back(&mut self, record: Record) {
        self.lane.put_back(record);
    }
}

impl Lent {
    /// Bytes of the message.
    pub fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::ends;
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_message_written_in_place_arrives_shortened_and_dropped_room_leaves_nothing() {
        let mut e = ends(1000);
        drop(e.talker.reserve(100).unwrap());
        assert_eq!(e.take(), None);
        let room = e.talker.reserve(100).unwrap();
        assert_eq!(room.len(), 100);
        assert_eq!(room.address().as_ptr() as usize % 8, 0);
        assert_eq!(room.fill(98, b"abc"), Err(Error::Invalid));
        assert_eq!(room.fill(usize::MAX, b"abc"), Err(Error::Invalid));
        room.fill(0, b"abcdef").unwrap();
        assert_eq!(e.bytes_waiting(), 0);
        let sent = e.talker.commit(room, 3, e.peer.as_fd()).unwrap();
        assert_eq!((sent.bytes, sent.bell), (3, Bell::Rung));
        assert_eq!(e.take().as_deref(), Some("abc"));
    }

    #[test]
    fn room_outlives_the_ends_of_the_lane() {
        let mut e = ends(1000);
        let room = e.talker.reserve(8).unwrap();
        drop(e);
        room.fill(0, b"01234567").unwrap();
    }

    #[test]
    fn many_messages_have_one_byte_and_end_where_the_room_ends() {
        let mut e = ends(1000);
        let texts: Vec<String> = (0..1000).map(|n| format!("message {n}")).collect();
        let messages: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
        let (count, bell) = e.talker.send_many(&messages, e.peer.as_fd()).unwrap();
        assert!((2..1000).contains(&count), "{count}");
        assert_eq!((bell, e.bytes_waiting()), (Bell::Rung, 1));
        assert_eq!(e.talker.send_many(&messages, e.peer.as_fd()), Err(Error::Busy));
        assert!(e.listener.is_announced());
        for text in &texts[..count] {
            assert_eq!(e.take().as_ref(), Some(text));
        }
        assert_eq!(e.take(), None);
    }

    #[test]
    fn a_message_that_is_looked_at_is_nobody_elses() {
        let mut e = ends(1000);
        e.send("one");
        e.send("two");
        let record = e.listener.peek_alone().unwrap().unwrap();
        assert_eq!(e.listener.peek_alone().map(|_| ()), Err(Error::InUse));
        assert_eq!(e.listener.receive(&mut [0; 8]), Err(Error::Busy));
        e.listener.put_back(record);
        assert_eq!(e.take().as_deref(), Some("one"));
        assert_eq!(e.take().as_deref(), Some("two"));
    }
}
