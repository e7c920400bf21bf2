// SPDX-License-Identifier: LGPL-2.1-or-later
//! A vector in pieces: growing moves nothing, and little memory lies idle. Items are named by number.

use crate::{Error, Result};

/// `PIECE` items per piece, a power of two. Only the first piece, of `FIRST` items, grows by being moved.
pub(super) struct Arena<T, const PIECE: usize, const FIRST: usize> {
    pieces: Vec<Vec<T>>,
    len: usize,
}

impl<T, const PIECE: usize, const FIRST: usize> Arena<T, PIECE, FIRST> {
    pub const fn new() -> Self {
        Arena { pieces: Vec::new(), len: 0 }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn get(&self, at: u32) -> Option<&T> {
        self.pieces.get(at as usize / PIECE)?.get(at as usize % PIECE)
    }

    #[inline]
    pub fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.pieces.get_mut(at as usize / PIECE)?.get_mut(at as usize % PIECE)
    }

    /// Room for `n` more items, at most one piece, so that pushing them cannot fail.
    pub fn reserve(&mut self, n: usize) -> Result<()> {
        let room: usize =
            self.pieces.iter().rev().take(2).map(|p| PIECE.min(p.capacity()) - p.len().min(PIECE)).sum();
        if room >= n {
            return Ok(());
        }
        if let [first] = self.pieces.as_mut_slice()
            && first.len() < PIECE
        {
            let more = first.len().clamp(n, PIECE).min(PIECE - first.len());
            first.try_reserve_exact(more).map_err(|_| Error::NoMemory)?;
            if more >= n {
                return Ok(());
            }
        }
        let mut piece = Vec::new();
        let size = if self.pieces.is_empty() { n.clamp(FIRST, PIECE) } else { PIECE };
        piece.try_reserve_exact(size).map_err(|_| Error::NoMemory)?;
        self.pieces.try_reserve(1).map_err(|_| Error::NoMemory)?;
        self.pieces.push(piece);
        Ok(())
    }

    /// Adds an item after [`Arena::reserve`]; its number.
    pub fn push(&mut self, item: T) -> u32 {
        let at = self.len;
        if let Some(piece) = self.pieces.get_mut(at / PIECE) {
            piece.push(item);
            self.len += 1;
        }
        at as u32
    }
}
