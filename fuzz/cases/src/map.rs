// SPDX-License-Identifier: LGPL-2.1-or-later
//! Maps of all kinds under any sequence of operations, compared with a sorted model.

use crate::Source;
use qb::map::{Event, Kind, Map, Mask, Notifier};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Counts what it hears.
#[derive(Clone)]
struct Ear(Rc<Cell<u32>>, u8);

impl Notifier<String, u32> for Ear {
    fn same_function(&self, other: &Self) -> bool {
        self.1 == other.1
    }
    fn notify(&self, _: Event, _: &String, _: Option<&u32>, _: Option<&u32>) {
        self.0.set(self.0.get() + 1);
    }
}

impl PartialEq for Ear {
    fn eq(&self, other: &Self) -> bool {
        self.1 == other.1
    }
}

/// Few characters and shared beginnings, so that keys meet; now and then a long one.
fn key(source: &mut Source<'_>) -> String {
    let shape = source.byte();
    let stem = ["", "runtime.connections.", "a", "\u{e9}\u{e9}"][usize::from(shape & 3)];
    let tail: String =
        source.take(usize::from(shape >> 5)).iter().map(|b| char::from(b'a' + b % 4)).collect();
    stem.to_owned() + &tail
}

fn run(kind: Kind, data: &[u8]) {
    let map: Map<String, u32, Ear> = match kind {
        Kind::Hashed => Map::hashed(16).expect("there is memory"),
        Kind::Sorted => Map::sorted(),
        Kind::Prefixed => Map::prefixed(),
    };
    let mut source = Source(data);
    let mut model = BTreeMap::new();
    let mut iters: Vec<_> = (0..4).map(|_| (map.iter(), String::new())).collect();
    let heard = Rc::new(Cell::new(0));
    while !source.is_empty() {
        match source.byte() % 12 {
            0..=3 => {
                let (key, value) = (key(&mut source), u32::from(source.byte()));
                map.put(key.clone(), value).expect("there is memory");
                model.insert(key, value);
            }
            4 | 5 => {
                let key = key(&mut source);
                assert_eq!(map.remove(key.as_bytes()), model.remove(&key).is_some());
            }
            6 | 7 => {
                let (iter, prefix) = &mut iters[usize::from(source.byte() % 4)];
                if let Some((key, value)) = iter.next() {
                    assert_eq!(model.get(&key), Some(&value));
                    assert!(kind != Kind::Prefixed || key.starts_with(prefix.as_str()));
                }
            }
            8 => {
                let at = usize::from(source.byte() % 4);
                let prefix = key(&mut source);
                iters[at] = (map.iter_prefix(prefix.as_bytes()), prefix);
            }
            9 => {
                let (mask, id) = (Mask(u32::from(source.byte()) & (31 | Mask::RECURSIVE)), source.byte() % 4);
                let key = key(&mut source);
                let target = (id != 0).then_some(key.as_bytes());
                let _ = map.notify_add(target, Ear(heard.clone(), id), mask);
            }
            10 => {
                let (mask, id) = (Mask(u32::from(source.byte()) & (31 | Mask::RECURSIVE)), source.byte() % 4);
                let key = key(&mut source);
                let target = (id != 0).then_some(key.as_bytes());
                let _ = map.notify_del(target, mask, |ear| ear.1 == id);
            }
            _ if source.byte() < 8 => {
                map.clear();
                model.clear();
            }
            _ => {
                let key = key(&mut source);
                if let Some(value) = model.get(&key) {
                    assert_eq!(map.get(key.as_bytes()), Some(*value));
                }
            }
        }
        assert_eq!(map.len(), model.len());
    }
    drop(iters);
    let mut found: Vec<_> = map.iter().collect();
    if kind == Kind::Sorted {
        assert!(found.is_sorted());
    }
    found.sort();
    assert_eq!(found, model.into_iter().collect::<Vec<_>>());
}

/// The same operations on a map of each kind.
pub fn map(data: &[u8]) {
    for kind in [Kind::Hashed, Kind::Sorted, Kind::Prefixed] {
        run(kind, data);
    }
}
