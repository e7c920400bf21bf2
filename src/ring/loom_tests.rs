// SPDX-License-Identifier: LGPL-2.1-or-later
//! The protocol under the model checker: every interleaving and every reordering that the memory orderings allow, on a
//! ring of a few words. Run by `make loom`.

use super::*;
use crate::sync::{AtomicU32, Ordering};
use loom::sync::Arc;
use loom::thread;

/// 9 words: room for two chunks of one word each, so that a third has to wait for the reader.
const WORDS: u32 = 9;

fn send(writer: &mut Writer<Arc<HeapRing>>, value: u32) -> Result<()> {
    let claim = writer.claim(4)?;
    writer.fill(&claim, 0, &value.to_ne_bytes())?;
    writer.commit(claim, 4)
}

fn take(reader: &mut Reader<Arc<HeapRing>>, chunk: Chunk) -> u32 {
    assert_eq!(chunk.len(), 4);
    let mut out = [0; 4];
    reader.copy(&chunk, 0, &mut out).unwrap();
    reader.reclaim(chunk).unwrap();
    u32::from_ne_bytes(out)
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

#[test]
fn loom_a_chunk_that_is_seen_is_complete() {
    model(|| {
        let ring = Arc::new(HeapRing::new(WORDS).unwrap());
        let mut writer = Writer::private(Arc::clone(&ring));
        let mut reader = Reader::private(ring);
        let sender = thread::spawn(move || {
            send(&mut writer, 11).unwrap();
            send(&mut writer, 12).unwrap();
        });
        let mut seen = Vec::new();
        for _ in 0..2 {
            if let Some(chunk) = reader.surely().unwrap() {
                seen.push(take(&mut reader, chunk));
            }
        }
        sender.join().unwrap();
        while let Some(chunk) = reader.surely().unwrap() {
            seen.push(take(&mut reader, chunk));
        }
        assert_eq!(seen, [11, 12]);
    });
}

/// Readers in C go by the magic alone.
#[test]
fn loom_a_ready_magic_brings_the_whole_chunk() {
    model(|| {
        let ring = Arc::new(HeapRing::new(WORDS).unwrap());
        let mut writer = Writer::private(Arc::clone(&ring));
        let mut reader = Reader::private(ring);
        let sender = thread::spawn(move || send(&mut writer, 61).unwrap());
        let early = reader.front().unwrap().map(|chunk| take(&mut reader, chunk));
        sender.join().unwrap();
        let late = reader.front().unwrap().map(|chunk| take(&mut reader, chunk));
        assert_eq!(early.or(late), Some(61));
    });
}

/// The payloads of earlier chunks look like headers of ready chunks at every word.
#[test]
fn loom_old_payload_is_never_taken_for_a_chunk() {
    model(|| {
        let ring = Arc::new(HeapRing::new(WORDS).unwrap());
        let mut writer = Writer::private(Arc::clone(&ring));
        let mut reader = Reader::private(Arc::clone(&ring));
        for index in 0..WORDS {
            ring.word(index).unwrap().set(if index % 2 == 0 { 4 } else { MAGIC_READY });
        }
        let sender = thread::spawn(move || send(&mut writer, 21).unwrap());
        let early = reader.surely().unwrap().map(|chunk| take(&mut reader, chunk));
        sender.join().unwrap();
        let late = reader.surely().unwrap().map(|chunk| take(&mut reader, chunk));
        assert_eq!(early.or(late), Some(21));
        assert!(early.is_none() || late.is_none());
    });
}

#[test]
fn loom_space_is_written_again_only_after_it_was_read() {
    model(|| {
        let ring = Arc::new(HeapRing::new(WORDS).unwrap());
        let mut writer = Writer::private(Arc::clone(&ring));
        let mut reader = Reader::private(ring);
        send(&mut writer, 31).unwrap();
        send(&mut writer, 32).unwrap();
        // 34 lies where 31 was.
        let sender = thread::spawn(move || [33, 34].map(|value| send(&mut writer, value)));
        for value in [31, 32] {
            let chunk = reader.surely().unwrap().unwrap();
            assert_eq!(take(&mut reader, chunk), value);
        }
        let sent = sender.join().unwrap();
        for (value, sent) in [33, 34].into_iter().zip(sent) {
            let came = reader.surely().unwrap().map(|chunk| take(&mut reader, chunk));
            match (sent, came) {
                (Ok(()), Some(got)) => assert!(got == value || got == 34),
                (Err(e), _) => assert_eq!(e, crate::Error::Busy),
                (Ok(()), None) => assert_eq!(value, 34, "34 took the place of 33, which was refused"),
            }
        }
        assert!(reader.surely().unwrap().is_none());
    });
}

/// With a counter that is posted after the commit, its count is promise enough.
#[test]
fn loom_a_count_promises_a_chunk() {
    model(|| {
        let ring = Arc::new(HeapRing::new(WORDS).unwrap());
        let count = Arc::new(AtomicU32::new(0));
        let mut writer = Writer::private(Arc::clone(&ring));
        let mut reader = Reader::private(ring);
        let post = Arc::clone(&count);
        let sender = thread::spawn(move || {
            for value in [41, 42] {
                send(&mut writer, value).unwrap();
                post.fetch_add(1, Ordering::Release);
            }
        });
        let mut expected = 41;
        for _ in 0..2 {
            if count.load(Ordering::Acquire) > expected - 41 {
                let chunk = reader.front().unwrap().unwrap();
                assert_eq!(take(&mut reader, chunk), expected);
                expected += 1;
            }
        }
        sender.join().unwrap();
    });
}

/// Ends that take turns through the shared indices, as `qb_rb_*` does.
#[test]
fn loom_shared_ends_agree() {
    model(|| {
        let ring = Arc::new(HeapRing::new(WORDS).unwrap());
        let mut writer = Writer::shared(Arc::clone(&ring));
        let sender = thread::spawn({
            let ring = Arc::clone(&ring);
            move || {
                send(&mut writer, 51).unwrap();
                send(&mut Writer::shared(ring), 52).unwrap();
            }
        });
        let mut seen = Vec::new();
        let mut reader = Reader::shared(Arc::clone(&ring));
        if let Some(chunk) = reader.surely().unwrap() {
            seen.push(take(&mut reader, chunk));
        }
        sender.join().unwrap();
        let mut reader = Reader::shared(ring);
        while let Some(chunk) = reader.surely().unwrap() {
            seen.push(take(&mut reader, chunk));
        }
        assert_eq!(seen, [51, 52]);
    });
}
