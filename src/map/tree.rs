// SPDX-License-Identifier: LGPL-2.1-or-later
//! The order of the sorted maps: a B+ tree over slot numbers. Leaves are chained, so iterating reads consecutive slots;
//! inner nodes name the first entry of each child. It allocates its nodes and reads texts through [`Texts`].

use super::arena::Arena;
use super::entries::NONE;
use super::key::Key;
use super::run::{RUN, Run, Texts};
use crate::{Error, Result};

const MERGE_BELOW: usize = RUN / 4;
const MERGE_UP_TO: usize = RUN * 3 / 4;
/// Entries per node of a new tree: room for some more before nodes are split.
const FILL: usize = RUN * 7 / 8;

struct Leaf {
    run: Run,
    prev: u32,
    next: u32,
}

struct Inner {
    /// The first entry below each child, and the children: leaves on the lowest level, else inner nodes.
    run: Run,
    kids: Kids,
}

impl Inner {
    /// The position of the child that holds `key` or would.
    fn child_for<K: Key, V: Clone>(&self, key: &[u8], texts: &Texts<'_, K, V>) -> usize {
        let (at, found) = self.run.lower_bound(key, texts);
        if found { at } else { at.saturating_sub(1) }
    }
}

/// The children of an inner node; how many there are, the node's run knows.
struct Kids([u32; RUN]);

impl Kids {
    const fn new() -> Self {
        Kids([NONE; RUN])
    }

    fn get(&self, at: usize) -> u32 {
        self.0.get(at).copied().unwrap_or(NONE)
    }

    /// Makes room at `at`, which is less than [`RUN`]; what was last in a full node is lost.
    fn insert(&mut self, at: usize, id: u32) {
        if at < RUN {
            self.0.copy_within(at..RUN - 1, at + 1);
            self.0[at] = id;
        }
    }

    fn remove(&mut self, at: usize) {
        if at < RUN {
            self.0.copy_within(at + 1.., at);
        }
    }

    fn split_off(&self, at: usize) -> Self {
        let mut right = Self::new();
        for (place, id) in right.0.iter_mut().zip(self.0.iter().skip(at)) {
            *place = *id;
        }
        right
    }

    fn append(&mut self, at: usize, others: &Kids) {
        for (place, id) in self.0.iter_mut().skip(at).zip(&others.0) {
            *place = *id;
        }
    }
}

/// A place in the order: a leaf and a position in it. Valid until the next change of the tree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    leaf: u32,
    at: u32,
}

impl Place {
    pub const NOWHERE: Place = Place { leaf: NONE, at: 0 };

    /// Further on in the same leaf, or behind its end.
    pub fn plus(self, n: usize) -> Place {
        Place { leaf: self.leaf, at: self.at + n as u32 }
    }
}

/// Slots in the order of their keys.
pub(super) struct Tree {
    leaves: Arena<Leaf, 16, 1>,
    free_leaves: Vec<u32>,
    inners: Arena<Inner, 16, 1>,
    free_inners: Vec<u32>,
    root: u32,
    /// 0: the root is a leaf.
    height: usize,
    first: u32,
    /// Number of slots.
    len: usize,
    /// For so many insertions there is memory.
    ready_for: usize,
}

/// More levels than 2^32 entries can fill.
const LEVELS: usize = 16;

/// The way down: inner nodes and the child taken in each.
struct Path {
    steps: [(u32, usize); LEVELS],
    len: usize,
}

impl Path {
    const fn new() -> Self {
        Path { steps: [(NONE, 0); LEVELS], len: 0 }
    }

    fn push(&mut self, step: (u32, usize)) {
        if let Some(place) = self.steps.get_mut(self.len) {
            *place = step;
            self.len += 1;
        }
    }

    fn pop(&mut self) -> Option<(u32, usize)> {
        self.len = self.len.checked_sub(1)?;
        self.steps.get(self.len).copied()
    }

    fn steps(&self) -> &[(u32, usize)] {
        self.steps.get(..self.len).unwrap_or(&[])
    }
}

impl Tree {
    pub const fn new() -> Self {
        Tree {
            leaves: Arena::new(),
            free_leaves: Vec::new(),
            inners: Arena::new(),
            free_inners: Vec::new(),
            root: NONE,
            height: 0,
            first: NONE,
            len: 0,
            ready_for: 0,
        }
    }

    /// Memory for `n` insertions in all, counted since the last one, with all the splits that they may cause.
    #[inline]
    pub fn reserve(&mut self, n: usize) -> Result<()> {
        if n <= self.ready_for { Ok(()) } else { self.get_ready(n) }
    }

    #[cold]
    fn get_ready(&mut self, n: usize) -> Result<()> {
        // New leaves come once in so many insertions, so ask for that many insertions at a time, and later for more.
        let old = self.leaves.len() - self.free_leaves.len();
        // The first ones fit into one leaf, sorted or one by one.
        let few = old == 0 && n <= FILL;
        let n = match n {
            n if n < RUN / 2 => n | (RUN / 2 - 1),
            _ if few => FILL,
            n => n | (RUN - 1),
        };
        // A split leaves at least RUN / 2 entries in each half, but any old leaf may be full.
        let leaves = if few { 1 } else { n.min(old + n / (RUN / 2) + 1) };
        let (mut inners, mut level) = (0, old + leaves);
        while level > 1 {
            level = if level <= RUN { 1 } else { level / (RUN / 2) };
            inners += level;
        }
        let inners = inners.min(n * (self.height + 2));
        self.leaves.reserve(leaves.saturating_sub(self.free_leaves.len()))?;
        self.inners.reserve(inners.saturating_sub(self.free_inners.len()))?;
        // For the removals to come.
        let room = |all: &mut Vec<u32>, n: usize| {
            all.try_reserve(n.saturating_sub(all.len())).map_err(|_| Error::NoMemory)
        };
        room(&mut self.free_leaves, old + leaves)?;
        room(&mut self.free_inners, self.inners.len() + inners)?;
        self.ready_for = n;
        Ok(())
    }

    #[inline]
    fn leaf(&self, id: u32) -> Option<&Leaf> {
        self.leaves.get(id)
    }

    #[inline]
    fn leaf_mut(&mut self, id: u32) -> Option<&mut Leaf> {
        self.leaves.get_mut(id)
    }

    fn new_leaf(&mut self, leaf: Leaf) -> u32 {
        if let Some(id) = self.free_leaves.pop()
            && let Some(place) = self.leaves.get_mut(id)
        {
            *place = leaf;
            return id;
        }
        self.leaves.push(leaf)
    }

    fn new_inner(&mut self, inner: Inner) -> u32 {
        if let Some(id) = self.free_inners.pop()
            && let Some(place) = self.inners.get_mut(id)
        {
            *place = inner;
            return id;
        }
        self.inners.push(inner)
    }

    /// The leaf that holds `key` or would, and the way to it.
    fn descend<K: Key, V: Clone>(&self, key: &[u8], texts: &Texts<'_, K, V>, path: &mut Path) -> u32 {
        let mut node = self.root;
        for _ in 0..self.height {
            let Some(inner) = self.inners.get(node) else { return NONE };
            let child = inner.child_for(key, texts);
            path.push((node, child));
            node = inner.kids.get(child);
        }
        node
    }

    /// As [`Tree::descend`], without the way.
    fn find_leaf<K: Key, V: Clone>(&self, key: &[u8], texts: &Texts<'_, K, V>) -> u32 {
        let mut node = self.root;
        for _ in 0..self.height {
            let Some(inner) = self.inners.get(node) else { return NONE };
            node = inner.kids.get(inner.child_for(key, texts));
        }
        node
    }

    /// First place whose key is not less than `key` (`after`: greater than it).
    pub fn seek<K: Key, V: Clone>(&self, key: &[u8], after: bool, texts: &Texts<'_, K, V>) -> Place {
        let id = self.find_leaf(key, texts);
        let Some(leaf) = self.leaf(id) else { return Place::NOWHERE };
        let (at, found) = leaf.run.lower_bound(key, texts);
        self.settle(Place { leaf: id, at: (at + usize::from(found && after)) as u32 })
    }

    /// A place behind the end of its leaf is the beginning of the next one.
    #[inline]
    pub fn settle(&self, place: Place) -> Place {
        match self.leaf(place.leaf) {
            Some(leaf) if (place.at as usize) < leaf.run.len() => place,
            Some(leaf) => Place { leaf: leaf.next, at: 0 },
            None => Place::NOWHERE,
        }
    }

    #[inline]
    pub fn first(&self) -> Place {
        self.settle(Place { leaf: self.first, at: 0 })
    }

    #[inline]
    pub fn next(&self, place: Place) -> Place {
        self.settle(Place { leaf: place.leaf, at: place.at + 1 })
    }

    /// The slots from a place to the end of its leaf.
    #[inline]
    pub fn rest(&self, place: Place) -> &[u32] {
        self.leaf(place.leaf).map_or(&[], |l| l.run.slots_from(place.at as usize))
    }

    /// How many of the next `most` of these have the prefix; None if that must be looked up.
    pub fn count_with_prefix<K: Key, V: Clone>(
        &self,
        place: Place,
        most: usize,
        prefix: &[u8],
        texts: &Texts<'_, K, V>,
    ) -> Option<usize> {
        self.leaf(place.leaf)?.run.count_with_prefix(place.at as usize, most, prefix, texts)
    }

    #[inline]
    pub fn slot(&self, place: Place) -> u32 {
        self.leaf(place.leaf).and_then(|l| l.run.slot(place.at as usize)).unwrap_or(NONE)
    }

    /// Every slot in order.
    pub fn walk(&self, mut visit: impl FnMut(u32)) {
        let mut id = self.first;
        while let Some(leaf) = self.leaf(id) {
            leaf.run.slots_from(0).iter().for_each(|slot| visit(*slot));
            id = leaf.next;
        }
    }

    /// Exchanges every slot for another of the same text.
    pub fn renumber(&mut self, new: impl Fn(u32) -> u32) {
        self.leaves.iter_mut().for_each(|leaf| leaf.run.renumber(&new));
        self.inners.iter_mut().for_each(|inner| inner.run.renumber(&new));
    }

    /// The slot before the one with `key`, which is in the tree.
    pub fn before<K: Key, V: Clone>(&self, key: &[u8], texts: &Texts<'_, K, V>) -> u32 {
        let id = self.find_leaf(key, texts);
        let Some(leaf) = self.leaf(id) else { return NONE };
        match leaf.run.lower_bound(key, texts).0 {
            0 => self.leaf(leaf.prev).map_or(NONE, |l| l.run.last()),
            at => leaf.run.slot(at - 1).unwrap_or(NONE),
        }
    }

    /// Adds `many` slots, chained through their entries, whose keys are not in the tree; [`Tree::reserve`] came before.
    pub fn insert_all<K: Key, V: Clone>(&mut self, first: u32, many: usize, texts: &Texts<'_, K, V>) {
        self.ready_for = 0;
        if many >= RUN / 4 && many >= self.len / 4 && self.rebuild(first, many, texts).is_ok() {
            return;
        }
        let mut slot = first;
        while let Some(link) = texts.entries.link(slot) {
            self.insert(texts.of(slot), slot, texts);
            slot = link.next;
        }
    }

    /// Sorts the old and the new slots together into new nodes, in the memory of the old ones and what was reserved.
    fn rebuild<K: Key, V: Clone>(&mut self, first: u32, many: usize, texts: &Texts<'_, K, V>) -> Result<()> {
        let mut all = Vec::new();
        all.try_reserve_exact(self.len + many).map_err(|_| Error::NoMemory)?;
        let mut leaf = self.first;
        while let Some(l) = self.leaf(leaf) {
            all.extend(l.run.slots_from(0).iter().map(|slot| (0, *slot)));
            leaf = l.next;
        }
        let mut slot = first;
        while let Some(link) = texts.entries.link(slot) {
            all.push((0, slot));
            slot = link.next;
        }
        let skip = texts.sort(&mut all);
        self.leaves.clear();
        self.free_leaves.clear();
        self.inners.clear();
        self.free_inners.clear();
        (self.first, self.len, self.height) = (0, all.len(), 0);
        let chunks = all.len().div_ceil(FILL) as u32;
        for (id, chunk) in (0..chunks).zip(all.chunks(FILL)) {
            let run = Run::of(chunk.iter().copied(), skip, texts);
            let next = if id + 1 < chunks { id + 1 } else { NONE };
            self.leaves.push(Leaf { run, prev: id.wrapping_sub(1), next });
        }
        // Each level above has the numbers of the one below, which follow one another, as children.
        let mut below = 0..chunks;
        while below.len() > 1 {
            let from = self.inners.len() as u32;
            while !below.is_empty() {
                let mut kids = Kids::new();
                for (place, id) in kids.0.iter_mut().zip(below.by_ref().take(FILL)) {
                    *place = id;
                }
                let firsts = kids.0.iter().take_while(|id| **id != NONE).map(|id| match self.height {
                    0 => self.leaf(*id).map_or(NONE, |l| l.run.first()),
                    _ => self.inners.get(*id).map_or(NONE, |i| i.run.first()),
                });
                let run = Run::of(firsts.map(|slot| (texts.head(texts.of(slot), skip), slot)), skip, texts);
                self.inners.push(Inner { run, kids });
            }
            below = from..self.inners.len() as u32;
            self.height += 1;
        }
        self.root = below.start;
        Ok(())
    }

    /// Adds a slot whose key is not in the tree; there is memory for it.
    fn insert<K: Key, V: Clone>(&mut self, key: &[u8], slot: u32, texts: &Texts<'_, K, V>) {
        self.len += 1;
        if self.root == NONE {
            self.root = self.new_leaf(Leaf { run: Run::new(), prev: NONE, next: NONE });
            self.first = self.root;
            self.height = 0;
        }
        let mut path = Path::new();
        let id = self.descend(key, texts, &mut path);
        let Some(leaf) = self.leaf_mut(id) else { return };
        let (at, _) = leaf.run.lower_bound(key, texts);
        if !leaf.run.is_full() {
            leaf.run.insert(at, slot, texts);
            if at == 0 {
                self.refresh(&path, slot, texts);
            }
            return;
        }
        // Keys that come in order leave full nodes behind.
        let (len, next) = (leaf.run.len(), leaf.next);
        let cut = if at == len && next == NONE { len } else { len / 2 };
        let mut right = leaf.run.split(cut, texts);
        if at < cut {
            leaf.run.insert(at, slot, texts);
        } else {
            right.insert(at - cut, slot, texts);
        }
        let (left_first, right_first) = (leaf.run.first(), right.first());
        let new = self.new_leaf(Leaf { run: right, prev: id, next });
        if let Some(leaf) = self.leaf_mut(id) {
            leaf.next = new;
        }
        if let Some(follower) = self.leaf_mut(next) {
            follower.prev = new;
        }
        if at == 0 {
            self.refresh(&path, slot, texts);
        }
        self.insert_child(path, (left_first, id), (right_first, new), texts);
    }

    /// Hangs a new child to the right of the one that the path led to, splitting inner nodes upwards.
    fn insert_child<K: Key, V: Clone>(
        &mut self,
        mut path: Path,
        mut left: (u32, u32),
        mut new: (u32, u32),
        texts: &Texts<'_, K, V>,
    ) {
        while let Some((id, child)) = path.pop() {
            let Some(inner) = self.inners.get_mut(id) else { return };
            let at = child + 1;
            if !inner.run.is_full() {
                inner.run.insert(at, new.0, texts);
                inner.kids.insert(at, new.1);
                return;
            }
            let len = inner.run.len();
            let cut = if at == len { len } else { len / 2 };
            let mut run = inner.run.split(cut, texts);
            let mut kids = inner.kids.split_off(cut);
            let (target, list, at) = if at < cut {
                (&mut inner.run, &mut inner.kids, at)
            } else {
                (&mut run, &mut kids, at - cut)
            };
            target.insert(at, new.0, texts);
            list.insert(at, new.1);
            left = (inner.run.first(), id);
            let first = run.first();
            new = (first, self.new_inner(Inner { run, kids }));
        }
        let mut run = Run::new();
        run.insert(0, left.0, texts);
        run.insert(1, new.0, texts);
        let mut kids = Kids::new();
        kids.insert(0, new.1);
        kids.insert(0, left.1);
        self.root = self.new_inner(Inner { run, kids });
        self.height += 1;
    }

    /// Tells the nodes above that the child's first entry is another one now.
    fn refresh<K: Key, V: Clone>(&mut self, path: &Path, first: u32, texts: &Texts<'_, K, V>) {
        for &(id, child) in path.steps().iter().rev() {
            let Some(inner) = self.inners.get_mut(id) else { return };
            inner.run.set(child, first, texts);
            if child > 0 {
                return;
            }
        }
    }

    /// Takes a slot out; its text is still readable.
    pub fn remove<K: Key, V: Clone>(&mut self, key: &[u8], slot: u32, texts: &Texts<'_, K, V>) {
        let mut path = Path::new();
        let id = self.descend(key, texts, &mut path);
        let Some(leaf) = self.leaf_mut(id) else { return };
        let (at, _) = leaf.run.lower_bound(key, texts);
        if leaf.run.slot(at) != Some(slot) {
            return;
        }
        leaf.run.remove(at);
        self.len = self.len.saturating_sub(1);
        let Some(leaf) = self.leaf(id) else { return };
        let (len, first) = (leaf.run.len(), leaf.run.first());
        if len == 0 {
            self.drop_leaf(id);
            self.remove_child(path, texts);
            return;
        }
        if at == 0 {
            self.refresh(&path, first, texts);
        }
        if len < MERGE_BELOW {
            self.merge(path, texts);
        }
    }

    fn drop_leaf(&mut self, id: u32) {
        let Some(leaf) = self.leaf_mut(id) else { return };
        let (prev, next) = (leaf.prev, leaf.next);
        *leaf = Leaf { run: Run::new(), prev: NONE, next: NONE };
        match self.leaf_mut(prev) {
            Some(before) => before.next = next,
            None => self.first = next,
        }
        if let Some(after) = self.leaf_mut(next) {
            after.prev = prev;
        }
        self.free_leaves.push(id);
    }

    /// Takes the child at the end of the path out of its parent, and emptied parents out of theirs.
    fn remove_child<K: Key, V: Clone>(&mut self, mut path: Path, texts: &Texts<'_, K, V>) {
        loop {
            let Some((id, child)) = path.pop() else {
                // Nothing is left.
                self.root = NONE;
                self.height = 0;
                return;
            };
            let Some(inner) = self.inners.get_mut(id) else { return };
            inner.run.remove(child);
            inner.kids.remove(child);
            let (len, first) = (inner.run.len(), inner.run.first());
            if len == 0 {
                self.free_inners.push(id);
                continue;
            }
            if child == 0 {
                self.refresh(&path, first, texts);
            }
            if path.len == 0 {
                self.lower_root();
            } else if len < MERGE_BELOW {
                self.merge(path, texts);
            }
            return;
        }
    }

    fn lower_root(&mut self) {
        while self.height > 0 {
            let root = self.root;
            let Some(inner) = self.inners.get_mut(root) else { return };
            if inner.run.len() != 1 {
                return;
            }
            let only = inner.kids.get(0);
            inner.run = Run::new();
            self.free_inners.push(root);
            self.root = only;
            self.height -= 1;
        }
    }

    /// Joins the small node at the end of the path with a neighbour under the same parent, if both fit in one.
    fn merge<K: Key, V: Clone>(&mut self, mut path: Path, texts: &Texts<'_, K, V>) {
        let level = path.len;
        let Some((parent, child)) = path.pop() else { return };
        let Some(inner) = self.inners.get(parent) else { return };
        if inner.run.len() < 2 {
            return;
        }
        let left = if child + 1 < inner.run.len() { child } else { child.saturating_sub(1) };
        let (a, b) = (inner.kids.get(left), inner.kids.get(left + 1));
        if level == self.height {
            let len = |id| self.leaf(id).map_or(usize::MAX / 2, |l| l.run.len());
            if len(a) + len(b) > MERGE_UP_TO {
                return;
            }
            let Some(gone) = self.leaf_mut(b) else { return };
            let run = std::mem::replace(&mut gone.run, Run::new());
            if let Some(stays) = self.leaf_mut(a) {
                stays.run.absorb(&run, texts);
            }
            self.drop_leaf(b);
        } else {
            let len = |id| self.inners.get(id).map_or(usize::MAX / 2, |n| n.run.len());
            if len(a) + len(b) > MERGE_UP_TO {
                return;
            }
            let Some(gone) = self.inners.get_mut(b) else { return };
            let gone = std::mem::replace(gone, Inner { run: Run::new(), kids: Kids::new() });
            if let Some(stays) = self.inners.get_mut(a) {
                stays.kids.append(stays.run.len(), &gone.kids);
                stays.run.absorb(&gone.run, texts);
            }
            self.free_inners.push(b);
        }
        path.push((parent, left + 1));
        self.remove_child(path, texts);
    }
}
