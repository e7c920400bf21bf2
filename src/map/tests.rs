// SPDX-License-Identifier: LGPL-2.1-or-later
//! Maps of each kind against a simple model, iterators that outlive what they show, and memory that comes back.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Events = Rc<RefCell<Vec<(Event, String, Option<u32>, Option<u32>)>>>;

#[derive(Clone)]
struct Log(Events);

impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Notifier<String, u32> for Log {
    fn same_function(&self, other: &Self) -> bool {
        self == other
    }
    fn notify(&self, event: Event, key: &String, old: Option<&u32>, new: Option<&u32>) {
        self.0.borrow_mut().push((event, key.clone(), old.copied(), new.copied()));
    }
}

type TestMap = Map<String, u32, Log>;

fn make(kind: Kind) -> TestMap {
    match kind {
        Kind::Hashed => Map::hashed(16).unwrap(),
        Kind::Sorted => Map::sorted(),
        Kind::Prefixed => Map::prefixed(),
    }
}

const KINDS: [Kind; 3] = [Kind::Hashed, Kind::Sorted, Kind::Prefixed];

#[derive(Clone, Debug)]
enum Step {
    Put(String, u32),
    Remove(String),
    Advance(usize),
    Restart(usize),
}

/// Few characters and shared beginnings, so that keys meet; long ones too.
fn key() -> impl Strategy<Value = String> {
    ("(|runtime\\.connections\\.|nodelist\\.node\\.)", "[ab1é]{0,4}").prop_map(|(stem, rest)| stem + &rest)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (key(), any::<u32>()).prop_map(|(k, v)| Step::Put(k, v)),
        2 => key().prop_map(Step::Remove),
        3 => (0..3_usize).prop_map(Step::Advance),
        1 => (0..3_usize).prop_map(Step::Restart),
    ]
}

/// The sort key of a kind's order.
fn rank(kind: Kind, key: &str) -> Vec<u8> {
    key.bytes().map(|b| if kind == Kind::Prefixed { b ^ 0x80 } else { b }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_map_agrees_with_a_simple_model(steps in prop::collection::vec(step(), 0..600)) {
        for kind in KINDS {
            let map = make(kind);
            let events = Events::default();
            map.notify_add(None, Log(Rc::clone(&events)), Mask(7 | Mask::RECURSIVE)).unwrap();
            let mut model = BTreeMap::new();
            let mut iters: Vec<_> = (0..3).map(|_| map.iter()).collect();
            let (mut inserted, mut replaced, mut removed) = (0, 0, 0);
            for step in &steps {
                match step {
                    Step::Put(key, value) => {
                        map.put(key.clone(), *value).unwrap();
                        match model.insert(key.clone(), *value) {
                            Some(_) => replaced += 1,
                            None => inserted += 1,
                        }
                    }
                    Step::Remove(key) => {
                        let expected = model.remove(key).is_some();
                        prop_assert_eq!(map.remove(key.as_bytes()), expected);
                        removed += usize::from(expected);
                    }
                    Step::Advance(i) => {
                        if let Some((key, value)) = iters[*i].next() {
                            prop_assert_eq!(model.get(&key), Some(&value));
                        }
                    }
                    Step::Restart(i) => iters[*i] = map.iter(),
                }
                prop_assert_eq!(map.len(), model.len());
            }
            drop(iters);
            for (key, value) in &model {
                prop_assert_eq!(map.get(key.as_bytes()), Some(*value));
            }
            let mut expected: Vec<_> = model.iter().map(|(k, v)| (k.clone(), *v)).collect();
            let mut found: Vec<_> = map.iter().collect();
            if kind == Kind::Hashed {
                found.sort();
            } else {
                expected.sort_by_key(|(k, _)| rank(kind, k));
            }
            prop_assert_eq!(found, expected);
            let count = |event| events.borrow().iter().filter(|e| e.0 == event).count();
            prop_assert_eq!(count(Event::Inserted), inserted);
            prop_assert_eq!(count(Event::Replaced), replaced);
            prop_assert_eq!(count(Event::Deleted), removed);
            let left = map.len();
            drop(map);
            let deleted = events.borrow().iter().filter(|e| e.0 == Event::Deleted).count();
            prop_assert_eq!(deleted, removed + left);
        }
    }

    #[test]
    fn a_prefix_iterator_finds_exactly_the_keys_with_the_prefix(
        keys in prop::collection::btree_set(key(), 0..200), prefix in key()
    ) {
        let map = make(Kind::Prefixed);
        for key in &keys {
            map.put(key.clone(), 0).unwrap();
        }
        let mut expected: Vec<_> = keys.iter().filter(|k| k.starts_with(&prefix)).cloned().collect();
        expected.sort_by_key(|k| rank(Kind::Prefixed, k));
        let found: Vec<_> = map.iter_prefix(prefix.as_bytes()).map(|(k, _)| k).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn thousands_of_entries_come_and_go_in_any_order() {
    for kind in KINDS {
        for stride in [1_u32, 7919, 19_999] {
            let map = make(kind);
            let key = |i: u32| format!("some.long.common.prefix.of.all.keys.{:05}", i * stride % 20_000);
            for i in 0..20_000 {
                map.put(key(i), i).unwrap();
            }
            assert_eq!((map.len(), map.iter().count()), (20_000, 20_000));
            for i in (0..20_000).rev().filter(|i| i % 20 != 0) {
                assert!(map.remove(key(i).as_bytes()), "{kind:?} {stride} {i}");
            }
            let left: Vec<_> = map.iter().map(|(k, _)| k).collect();
            assert_eq!(left.len(), 1000);
            assert!(kind == Kind::Hashed || left.is_sorted());
            for i in (0..20_000).filter(|i| i % 20 == 0) {
                assert_eq!(map.get(key(i).as_bytes()), Some(i));
                assert!(map.remove(key(i).as_bytes()));
            }
            assert!(map.is_empty() && map.iter().next().is_none());
        }
    }
}

#[test]
fn removing_everything_during_iteration_visits_everything_once() {
    for kind in KINDS {
        let map = make(kind);
        for i in 0..1000 {
            map.put(format!("{i}"), i).unwrap();
        }
        let iter = map.iter();
        let mut seen = 0;
        while let Some((key, _)) = iter.advance() {
            assert!(map.remove(key.as_bytes()));
            seen += 1;
        }
        assert_eq!((seen, map.len()), (1000, 0));
    }
}

#[test]
fn an_iterator_outlives_its_map_and_ends() {
    for kind in KINDS {
        let map = make(kind);
        map.put("a".into(), 1).unwrap();
        map.put("b".into(), 2).unwrap();
        let mut iter = map.iter();
        assert!(iter.next().is_some());
        drop(map);
        assert_eq!(iter.next(), None);
    }
}

#[test]
fn the_next_iterator_uses_the_memory_of_the_last() {
    for kind in KINDS {
        let map = make(kind);
        map.put("a".into(), 1).unwrap();
        let (first, second) = (map.iter().into_walk().unwrap(), map.iter().into_walk().unwrap());
        assert!(!Rc::ptr_eq(&first, &second));
        let kept = Rc::downgrade(&first);
        first.advance();
        drop(Iter::from(first));
        let unkept = Rc::downgrade(&second);
        drop(Iter::from(second));
        assert!(unkept.upgrade().is_none());
        let mut third = map.iter_prefix(b"a");
        assert_eq!(third.next(), Some(("a".into(), 1)));
        assert!(Rc::ptr_eq(&third.into_walk().unwrap(), &kept.upgrade().unwrap()));
    }
}

#[test]
fn a_map_and_its_iterators_leave_no_memory_behind() {
    for kind in KINDS {
        for left in 0..3 {
            let map = make(kind);
            map.put("a".into(), 1).unwrap();
            map.iter().count();
            let iters: Vec<_> = (0..left).map(|_| map.iter()).collect();
            let inner = Rc::downgrade(&map.inner);
            drop(map);
            assert_eq!(inner.upgrade().is_some(), left > 0);
            drop(iters);
            assert!(inner.upgrade().is_none());
        }
    }
}

#[test]
fn held_entries_of_two_iterators_are_announced_when_the_last_moves() {
    for kind in KINDS {
        let map = make(kind);
        let events = Events::default();
        map.notify_add(None, Log(Rc::clone(&events)), Mask(1 | Mask::RECURSIVE)).unwrap();
        map.put("a".into(), 1).unwrap();
        let (first, second) = (map.iter(), map.iter());
        first.advance();
        second.advance();
        assert!(map.remove(b"a") && !map.remove(b"a"));
        assert_eq!(map.len(), 0);
        drop(first);
        assert!(events.borrow().is_empty());
        assert_eq!(second.advance(), None);
        assert_eq!(*events.borrow(), [(Event::Deleted, "a".to_owned(), Some(1), None)]);
    }
}

#[test]
fn an_iterator_that_stopped_before_a_held_entry_survives_its_release() {
    // One bucket: the order is that of insertion.
    let map: Map<&str, u32> = Map::hashed(0).unwrap();
    let same_bucket: Vec<String> = {
        let buckets = Buckets::new(0).unwrap();
        (0..200).map(|i| format!("{i}")).filter(|k| buckets.bucket_of(k.as_bytes()) == 3).collect()
    };
    let keys: Vec<&'static str> = same_bucket.iter().take(4).map(|k| &*k.clone().leak()).collect();
    for key in &keys {
        map.put(key, 0).unwrap();
    }
    let (holder, reader) = (map.iter(), map.iter());
    for _ in 0..3 {
        holder.advance();
    }
    reader.advance();
    map.remove(keys[2].as_bytes());
    assert_eq!(reader.advance().unwrap().0, keys[1]);
    drop(holder);
    let rest: Vec<_> = reader.map(|(k, _)| k).collect();
    assert_eq!(rest, keys[3..]);
}

#[test]
fn an_arranged_map_is_read_in_order_across_wide_gaps_and_changes() {
    for kind in KINDS {
        let map = make(kind);
        for i in 0..400_u32 {
            map.put(format!("{:03}", i * 7 % 400), i).unwrap();
        }
        let all: Vec<_> = map.iter().map(|(k, _)| k).collect();
        assert_eq!(all.len(), 400);
        for key in &all[100..300] {
            assert!(map.remove(key.as_bytes()));
        }
        let left: Vec<_> = map.iter().map(|(k, _)| k).collect();
        assert_eq!(left, [&all[..100], &all[300..]].concat(), "{kind:?}");
        // The current entry and the next one go, beside the gap, and one more beyond it.
        let iter = map.iter();
        let before: Vec<_> = (0..99).map_while(|_| iter.advance()).map(|(k, _)| k).collect();
        assert_eq!(before, all[..99]);
        for gone in [98, 99, 305] {
            assert!(map.remove(all[gone].as_bytes()));
        }
        let rest: Vec<_> = std::iter::from_fn(|| iter.advance()).map(|(k, _)| k).collect();
        assert_eq!(rest, [&all[300..305], &all[306..]].concat(), "{kind:?}");
        // The map is no longer arranged: a new entry that comes last is seen.
        let iter = map.iter();
        assert_eq!(iter.advance().map(|(k, _)| k), Some(all[0].clone()));
        if kind != Kind::Hashed {
            map.put("9".repeat(4), 0).unwrap();
            assert_eq!(std::iter::from_fn(|| iter.advance()).last(), Some(("9999".into(), 0)));
        }
    }
}
