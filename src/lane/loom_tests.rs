// SPDX-License-Identifier: LGPL-2.1-or-later
//! Records and bell under the model checker. Run by `make loom`.

use super::*;
use crate::sync::{AtomicU32, Ordering};
use loom::sync::Arc;
use loom::thread;

/// Room for four records of one word each and the state behind them: with two behind it, the third has to wait or start over.
const WORDS: u32 = 20;

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

fn send(sender: &mut Sender<Arc<HeapRing>>, value: u32) -> Result<()> {
    let claim = sender.claim(4)?;
    sender.fill(&claim, 0, &value.to_ne_bytes())?;
    sender.commit(claim, 4)
}

fn take(receiver: &mut Receiver<Arc<HeapRing>>) -> Option<u32> {
    let record = receiver.peek().unwrap()?;
    assert_eq!(record.len(), 4);
    let mut out = [0; 4];
    receiver.copy(&record, 0, &mut out).unwrap();
    receiver.reclaim(record);
    Some(u32::from_ne_bytes(out))
}

fn lane() -> (Sender<Arc<HeapRing>>, Receiver<Arc<HeapRing>>) {
    let cells = Arc::new(HeapRing::new(WORDS).unwrap());
    let (mut sender, mut receiver) = (Sender::new(Arc::clone(&cells)), Receiver::new(cells));
    for value in [1, 2] {
        send(&mut sender, value).unwrap();
        assert_eq!(take(&mut receiver), Some(value));
    }
    (sender, receiver)
}

#[test]
fn loom_lane_records_come_whole_and_in_order() {
    model(|| {
        let (mut sender, mut receiver) = lane();
        let peer = thread::spawn(move || [11, 12, 13].map(|value| send(&mut sender, value)));
        let mut seen: Vec<u32> = (0..2).filter_map(|_| take(&mut receiver)).collect();
        let sent = peer.join().unwrap();
        while let Some(value) = take(&mut receiver) {
            seen.push(value);
        }
        let expected: Vec<u32> =
            [11, 12, 13].into_iter().zip(sent).filter(|(_, r)| r.is_ok()).map(|(v, _)| v).collect();
        assert_eq!(seen, expected);
        assert!(seen.len() >= 2, "nothing was sent");
    });
}

/// Places of the lane are used again: the last two records lie where the first ones were.
#[test]
fn loom_lane_room_is_used_again_only_after_it_was_read() {
    model(|| {
        let (mut sender, mut receiver) = lane();
        send(&mut sender, 21).unwrap();
        send(&mut sender, 22).unwrap();
        let peer = thread::spawn(move || [23, 24].map(|value| send(&mut sender, value).is_ok()));
        assert_eq!(take(&mut receiver), Some(21));
        assert_eq!(take(&mut receiver), Some(22));
        let sent = peer.join().unwrap();
        let expected: Vec<u32> =
            [23, 24].into_iter().zip(sent).filter(|(_, ok)| *ok).map(|(v, _)| v).collect();
        let mut seen = Vec::new();
        while let Some(value) = take(&mut receiver) {
            seen.push(value);
        }
        assert_eq!(seen, expected);
        assert!(!seen.is_empty(), "nothing was sent");
    });
}

/// Whatever happens, a receiver that sleeps with something queued was rung.
#[test]
fn loom_bell_is_never_lost() {
    model(|| {
        let (mut sender, mut receiver) = lane();
        let bell = Arc::new(SharedWord::new(1));
        let bytes = Arc::new(AtomicU32::new(0));
        let peer = thread::spawn({
            let (bell, bytes) = (Arc::clone(&bell), Arc::clone(&bytes));
            move || {
                for value in [31, 32] {
                    send(&mut sender, value).unwrap();
                    if rouse(&bell) {
                        bytes.fetch_add(1, Ordering::Release);
                    }
                }
            }
        });
        // One turn of a receiver that was woken, or woke by itself: takes what is there and goes to sleep.
        let mut rung = 0;
        let mut seen = 0;
        if bytes.load(Ordering::Acquire) > 0 {
            rung = 1;
            loop {
                while take(&mut receiver).is_some() {
                    seen += 1;
                }
                match arm(&bell, || receiver.ready()) {
                    Armed::Asleep => break,
                    Armed::Awake => {}
                    Armed::Rung => rung += 1,
                }
            }
        }
        peer.join().unwrap();
        let sent = bytes.load(Ordering::Acquire);
        assert!(sent >= rung, "an announcement was counted that was never made");
        if seen < 2 {
            assert!(receiver.ready());
            assert!(sent > rung, "records are queued and nobody says so");
        }
    });
}
