// SPDX-License-Identifier: LGPL-2.1-or-later
//! A lane against a simple queue, at its limits, and under a peer that stores what it likes.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;

fn lane(words: u32) -> (Sender<Arc<HeapRing>>, Receiver<Arc<HeapRing>>, Arc<HeapRing>) {
    let cells = Arc::new(HeapRing::new(words).unwrap());
    (Sender::new(cells.clone()), Receiver::new(cells.clone()), cells)
}

fn send(sender: &mut Sender<Arc<HeapRing>>, data: &[u8]) -> Result<()> {
    let claim = sender.claim(data.len())?;
    sender.fill(&claim, 0, data)?;
    sender.commit(claim, data.len())
}

fn take(receiver: &mut Receiver<Arc<HeapRing>>) -> Result<Option<Vec<u8>>> {
    let Some(record) = receiver.peek()? else {
        return Ok(None);
    };
    let mut out = vec![0; record.len()];
    receiver.copy(&record, 0, &mut out)?;
    receiver.reclaim(record);
    Ok(Some(out))
}

#[test]
fn the_largest_message_finds_room_wherever_an_empty_lane_stands() {
    for most in [0, 1, 8, 100, 4096, 5000] {
        let words = u32::try_from(bytes_for(most).unwrap() / 4).unwrap();
        assert!(most_in(words) >= most, "{most}");
        for before in 0..words / 8 {
            let (mut sender, mut receiver, _) = lane(words);
            for _ in 0..before {
                send(&mut sender, &b"x"[..most.min(1)]).unwrap();
                take(&mut receiver).unwrap().unwrap();
            }
            let message = vec![7; most];
            send(&mut sender, &message).unwrap();
            assert_eq!(take(&mut receiver), Ok(Some(message)));
        }
        let (mut sender, ..) = lane(words);
        assert_eq!(send(&mut sender, &vec![0; most_in(words) + 1]), Err(Error::TooBig));
    }
    assert_eq!(bytes_for(usize::MAX), Err(Error::Os(libc::EFBIG)));
    assert_eq!(bytes_for(1 << 30), Err(Error::Os(libc::EFBIG)));
}

#[test]
fn a_full_lane_refuses_and_keeps_what_it_has() {
    let (mut sender, mut receiver, _) = lane(64);
    let mut sent = 0_u64;
    while send(&mut sender, &sent.to_ne_bytes()) == Ok(()) {
        sent += 1;
    }
    assert!(sent > 10);
    assert_eq!(sender.claim(8).map(|_| ()), Err(Error::Busy));
    assert_eq!(sender.queued(), u32::try_from(sent).unwrap());
    for n in 0..sent {
        assert_eq!(take(&mut receiver), Ok(Some(n.to_ne_bytes().to_vec())));
    }
    assert_eq!(take(&mut receiver), Ok(None));
    assert_eq!(sender.queued(), 0);
}

#[test]
fn a_lane_with_little_in_it_stays_on_its_first_page() {
    let (mut sender, mut receiver, _) = lane(64 * PAGE);
    for n in 0..100_000_u32 {
        let claim = sender.claim(64).unwrap();
        assert!(claim.offset() + 64 < 2 * 4 * PAGE as usize);
        sender.fill(&claim, 0, &n.to_ne_bytes()).unwrap();
        sender.commit(claim, 64).unwrap();
        assert_eq!(take(&mut receiver).unwrap().unwrap()[..4], n.to_ne_bytes());
    }
}

#[test]
fn a_peeked_record_is_nobody_elses_until_it_is_put_back() {
    let (mut sender, mut receiver, _) = lane(64);
    send(&mut sender, b"one").unwrap();
    send(&mut sender, b"two").unwrap();
    let record = receiver.peek().unwrap().unwrap();
    assert!(!receiver.ready());
    assert!(receiver.peek().unwrap().is_none());
    receiver.put_back(record);
    assert!(receiver.ready());
    assert_eq!(take(&mut receiver), Ok(Some(b"one".to_vec())));
    assert_eq!(take(&mut receiver), Ok(Some(b"two".to_vec())));
}

#[test]
fn a_commit_may_be_shorter_than_its_claim_and_a_dropped_claim_leaves_nothing() {
    let (mut sender, mut receiver, _) = lane(64);
    drop(sender.claim(40).unwrap());
    let claim = sender.claim(40).unwrap();
    assert_eq!(sender.fill(&claim, 33, &[0; 8]), Err(Error::Invalid));
    sender.fill(&claim, 0, b"abc").unwrap();
    assert_eq!(claim.len(), 40);
    sender.commit(claim, 3).unwrap();
    assert_eq!(take(&mut receiver), Ok(Some(b"abc".to_vec())));
    let claim = sender.claim(4).unwrap();
    assert_eq!(sender.commit(claim, 5), Err(Error::Invalid));
    assert_eq!(take(&mut receiver), Ok(None));
}

/// The payload of every record reads as the states of many records.
#[test]
fn old_payload_is_never_taken_for_a_record() {
    let (mut sender, mut receiver, _) = lane(128);
    let forged: Vec<u8> = 9_u32.to_ne_bytes().repeat(18);
    for n in 0..1000_usize {
        let len = n % forged.len();
        send(&mut sender, &forged[..len]).unwrap();
        assert_eq!(take(&mut receiver).unwrap().unwrap().len(), len);
        assert_eq!(take(&mut receiver), Ok(None), "round {n}");
    }
}

#[test]
fn odd_values_of_the_peer_are_corrupt_or_nothing() {
    for value in [1, 2, 3, 5, 63, 64, 65, 127, 1 << 31, u32::MAX - 1, u32::MAX] {
        let (mut sender, mut receiver, cells) = lane(64);
        send(&mut sender, b"12345678").unwrap();
        Cells::word(&*cells, 0).unwrap().set(u32::MAX);
        Cells::word(&*cells, 1).unwrap().set(value);
        assert_eq!(receiver.peek().map(|_| ()), Err(Error::Corrupt), "skip to {value}");
        Cells::word(&*cells, 0).unwrap().set(value);
        let mut receiver = Receiver::new(cells.clone());
        match receiver.peek() {
            Ok(Some(record)) => assert!(record.offset() + record.len() <= 256),
            other => assert_eq!(other.map(|_| ()), Err(Error::Corrupt), "state {value}"),
        }
        assert!(sender.queued() <= 64);
        cells.tail().set(value);
        let mut last = Ok(());
        for _ in 0..64 {
            last = send(&mut sender, b"12345678");
        }
        // A tail that could be one is believed: the worst is that the peer's own messages are written over.
        assert!(
            last == Err(Error::Corrupt) || last == Err(Error::Busy) || value == 2,
            "tail {value}: {last:?}"
        );
        assert!(sender.queued() <= 64);
    }
}

/// A sender that leads its reader in circles and then does nothing more gives it no more to do than a lane can hold.
#[test]
fn a_circle_is_walked_once() {
    for ends in [16, 40, 60] {
        let (_, mut receiver, cells) = lane(64);
        for at in (0..ends).step_by(4) {
            Cells::word(&*cells, at).unwrap().set(9);
        }
        Cells::word(&*cells, ends).unwrap().set(SKIP);
        let count = (0..1000).take_while(|_| matches!(take(&mut receiver), Ok(Some(_)))).count();
        assert!(count <= 64, "{count} records");
    }
}

#[test]
fn a_bell_is_taken_once_for_each_arming() {
    let bell = SharedWord::new(0);
    assert!(!rouse(&bell));
    assert_eq!(arm(&bell, || false), Armed::Asleep);
    assert!(rouse(&bell));
    assert!(!rouse(&bell));
    assert_eq!(arm(&bell, || true), Armed::Awake);
    assert!(!rouse(&bell));
    assert_eq!(arm(&bell, || rouse(&bell)), Armed::Rung);
    bell.set(77);
    assert!(rouse(&bell), "odd values of the peer count as armed, once");
    assert!(!rouse(&bell));
}

proptest! {
    #[test]
    fn a_lane_is_a_queue(words in 32_u32..8000, steps in prop::collection::vec((0..5_u32, 0_usize..1200), 1..600), bias in 1..5_u32) {
        let (mut sender, mut receiver, _) = lane(words);
        let most = most_in(words & !1);
        let mut model = VecDeque::new();
        for (round, (push, len)) in steps.into_iter().enumerate() {
            if push < bias {
                let data = vec![round as u8; len];
                let unread: u32 = model.iter().map(|d: &Vec<u8>| record_words(d.len())).sum();
                let owed = unread + record_words(len) <= (words & !1) / 4 * 2 - SLACK;
                match send(&mut sender, &data) {
                    Ok(()) => model.push_back(data),
                    Err(Error::Busy) => prop_assert!(!owed && len <= most),
                    Err(e) => prop_assert!(e == Error::TooBig && len > most),
                }
            } else {
                prop_assert_eq!(take(&mut receiver), Ok(model.pop_front()));
            }
            prop_assert_eq!(sender.queued() as usize, model.len());
            prop_assert_eq!(receiver.ready(), !model.is_empty());
        }
    }
}
