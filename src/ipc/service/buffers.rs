// SPDX-License-Identifier: LGPL-2.1-or-later
//! Private memory that messages are copied into before they are handled. One pool per service: as many buffers exist as
//! messages are being handled at the same time, which is one unless callbacks run nested loops.

use crate::Result;
use crate::sync::Mutex;
use crate::sys::memory::zeroed_words;

/// A buffer aligned to 8 bytes.
pub(in super::super) struct Buffer(Box<[u64]>);

impl Buffer {
    /// The first `len` bytes, writable.
    pub fn bytes(&mut self, len: usize) -> &mut [u8] {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.0);
        let len = len.min(bytes.len());
        &mut bytes[..len]
    }

    /// The first `len` bytes.
    pub fn read(&self, len: usize) -> &[u8] {
        let bytes: &[u8] = bytemuck::cast_slice(&self.0);
        &bytes[..len.min(bytes.len())]
    }
}

/// The pool.
#[derive(Default)]
pub(in super::super) struct Buffers(Mutex<Vec<Buffer>>);

/// Buffers kept for later use.
const KEPT: usize = 4;
/// Words of a buffer that is not kept longer than whoever needed it.
const LARGE: usize = 1 << 17;

impl Buffers {
    /// A buffer of at least `len` bytes; its content is left over from earlier messages of any client.
    /// [`Error::NoMemory`](crate::Error::NoMemory) when there is not that much.
    pub fn take(&self, len: usize) -> Result<Buffer> {
        let words = len.div_ceil(8);
        let kept = self.0.lock().pop();
        match kept {
            Some(buffer) if buffer.0.len() >= words => Ok(buffer),
            // Growing would copy.
            _ => zeroed_words(words.next_power_of_two()).map(Buffer),
        }
    }

    /// Lets go of buffers that only large messages need.
    pub fn trim(&self) {
        self.0.lock().retain(|buffer| buffer.0.len() < LARGE);
    }

    /// Gives a buffer back.
    pub fn put(&self, buffer: Buffer) {
        let mut pool = self.0.lock();
        if pool.len() < KEPT {
            pool.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_are_kept_until_the_pool_is_trimmed() {
        let pool = Buffers::default();
        pool.put(pool.take(100).unwrap());
        pool.put(pool.take(8 * LARGE).unwrap());
        assert_eq!(pool.0.lock().iter().map(|b| b.0.len()).max(), Some(LARGE));
        pool.trim();
        assert!(pool.0.lock().iter().all(|b| b.0.len() < LARGE));
        pool.put(pool.take(100).unwrap());
        pool.trim();
        assert_eq!(pool.0.lock().len(), 1);
    }
}
