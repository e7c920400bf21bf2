// SPDX-License-Identifier: LGPL-2.1-or-later
//! A vector in pieces: growing moves nothing, and little memory lies idle. Items are named by number.

use crate::{Error, Result};

/// `PIECE` items per piece, a power of two. Only the first piece, of `FIRST` items, grows by being moved.
pub(super) struct Arena<T, const PIECE: usize, const FIRST: usize> {
    /// All but the last have room for `PIECE` items.
    pieces: Vec<Vec<T>>,
    len: usize,
    capacity: usize,
}

impl<T, const PIECE: usize, const FIRST: usize> Arena<T, PIECE, FIRST> {
    pub const fn new() -> Self {
        Arena { pieces: Vec::new(), len: 0, capacity: 0 }
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

    /// At most `n` consecutive items, and no more than there are up to the end of a piece.
    #[inline]
    pub fn consecutive(&self, at: u32, n: usize) -> &[T] {
        let Some(piece) = self.pieces.get(at as usize / PIECE) else { return &[] };
        let rest = piece.get(at as usize % PIECE..).unwrap_or(&[]);
        rest.get(..n).unwrap_or(rest)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pieces.iter_mut().flatten()
    }

    /// Exchanges two items.
    pub fn swap(&mut self, a: u32, b: u32) {
        let (a, b) = (a as usize, b as usize);
        if a / PIECE == b / PIECE {
            if let Some(piece) = self.pieces.get_mut(a / PIECE)
                && a % PIECE < piece.len()
                && b % PIECE < piece.len()
            {
                piece.swap(a % PIECE, b % PIECE);
            }
        } else if let Ok([one, two]) = self.pieces.get_disjoint_mut([a / PIECE, b / PIECE])
            && let (Some(one), Some(two)) = (one.get_mut(a % PIECE), two.get_mut(b % PIECE))
        {
            std::mem::swap(one, two);
        }
    }

    /// How many more items fit in.
    #[inline]
    pub fn room(&self) -> usize {
        self.capacity - self.len
    }

    /// Room for `n` more items, so that pushing them cannot fail.
    #[inline]
    pub fn reserve(&mut self, n: usize) -> Result<()> {
        if self.room() >= n { Ok(()) } else { self.enlarge(n) }
    }

    #[cold]
    fn enlarge(&mut self, n: usize) -> Result<()> {
        if let [first] = self.pieces.as_mut_slice()
            && first.capacity() < PIECE
        {
            let size = (first.len() + first.len().max(n)).min(PIECE);
            first.try_reserve_exact(size - first.len()).map_err(|_| Error::NoMemory)?;
            self.capacity = first.capacity().min(PIECE);
        }
        while self.room() < n {
            let size = if self.pieces.is_empty() { n.clamp(FIRST, PIECE) } else { PIECE };
            let mut piece = Vec::new();
            piece.try_reserve_exact(size).map_err(|_| Error::NoMemory)?;
            self.pieces.try_reserve(1).map_err(|_| Error::NoMemory)?;
            self.capacity += piece.capacity().min(PIECE);
            self.pieces.push(piece);
        }
        Ok(())
    }

    /// Removes all items and keeps the memory.
    pub fn clear(&mut self) {
        self.pieces.iter_mut().for_each(Vec::clear);
        self.len = 0;
    }

    /// Adds an item after [`Arena::reserve`]; its number.
    #[inline]
    pub fn push(&mut self, item: T) -> u32 {
        let at = self.len;
        if let Some(piece) = self.pieces.get_mut(at / PIECE) {
            piece.push(item);
            self.len += 1;
        }
        at as u32
    }
}
