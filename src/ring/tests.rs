// SPDX-License-Identifier: LGPL-2.1-or-later
//! The protocol on a heap array: against a queue as the model, and against a peer that writes anything anywhere.

use super::dump::Header;
use super::*;
use crate::Error;
use proptest::prelude::*;
use std::collections::VecDeque;

/// A heap ring whose words and bytes may only be reached where the contract of [`Words`] allows.
struct Strict(HeapRing);

impl Words for Strict {
    fn size(&self) -> Size {
        self.0.size()
    }
    fn write_pt(&self) -> &SharedWord {
        self.0.write_pt()
    }
    fn read_pt(&self) -> &SharedWord {
        self.0.read_pt()
    }
    fn word(&self, index: u32) -> Result<&SharedWord> {
        assert!(index < self.size().words());
        self.0.word(index)
    }
    fn copy_in(&self, offset: usize, data: &[u8]) -> Result<()> {
        assert!(offset + data.len() <= self.size().bytes());
        self.0.copy_in(offset, data)
    }
    fn copy_out(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        assert!(offset + out.len() <= self.size().bytes());
        self.0.copy_out(offset, out)
    }
}

fn ring(words: u32) -> Strict {
    Strict(HeapRing::new(words).unwrap())
}

fn send<W: Words>(writer: &mut Writer<W>, data: &[u8]) -> Result<()> {
    let claim = writer.claim(data.len())?;
    writer.fill(&claim, 0, data)?;
    writer.commit(claim, data.len())
}

fn receive<W: Words>(reader: &mut Reader<W>) -> Result<Option<Vec<u8>>> {
    let Some(chunk) = reader.surely()? else { return Ok(None) };
    let mut out = vec![0; chunk.len()];
    reader.copy(&chunk, 0, &mut out)?;
    reader.reclaim(chunk)?;
    Ok(Some(out))
}

#[test]
fn lengths_out_of_range_are_no_ring() {
    assert!(Size::new(3).is_err());
    assert!(Size::new(4).is_ok());
    assert!(Size::new(MAX_WORDS).is_ok());
    assert!(Size::new(MAX_WORDS + 1).is_err());
}

#[test]
fn a_chunk_has_the_words_of_the_wire() {
    let ring = ring(16);
    let mut writer = Writer::private(&ring);
    let claim = writer.claim(8).unwrap();
    assert_eq!((ring.word(0).unwrap().get(), ring.word(1).unwrap().get()), (0, MAGIC_ALLOC));
    writer.fill(&claim, 0, b"abcde").unwrap();
    assert!(writer.fill(&claim, 5, b"fghi").is_err());
    assert!(writer.fill(&claim, usize::MAX, b"a").is_err());
    writer.commit(claim, 5).unwrap();
    let words: Vec<u32> = (0..3).map(|i| ring.word(i).unwrap().get()).collect();
    assert_eq!(words, [5, MAGIC_READY, u32::from_ne_bytes(*b"abcd")]);
    assert_eq!(ring.write_pt().get(), 4);
    let mut reader = Reader::private(&ring);
    assert_eq!(receive(&mut reader).unwrap().unwrap(), b"abcde");
    assert_eq!((ring.word(0).unwrap().get(), ring.word(1).unwrap().get()), (0, MAGIC_DEAD));
    assert_eq!(ring.read_pt().get(), 4);
}

#[test]
fn a_claim_that_is_dropped_is_never_seen() {
    let ring = ring(64);
    let (mut writer, mut reader) = (Writer::private(&ring), Reader::private(&ring));
    drop(writer.claim(8).unwrap());
    assert_eq!(receive(&mut reader), Ok(None));
    send(&mut writer, b"x").unwrap();
    assert_eq!(receive(&mut reader).unwrap().unwrap(), b"x");
}

#[test]
fn committing_more_than_claimed_is_refused() {
    let ring = ring(64);
    let mut writer = Writer::private(&ring);
    let claim = writer.claim(8).unwrap();
    assert_eq!(writer.commit(claim, 9), Err(Error::Invalid));
    let claim = Writer::shared(&ring).claimed().unwrap();
    assert_eq!(claim.len(), 64 * 4 - CHUNK_MARGIN);
    assert_eq!(Writer::shared(&ring).commit(claim, 64 * 4 - CHUNK_MARGIN + 1), Err(Error::Invalid));
}

#[test]
fn old_payload_that_looks_like_a_chunk_is_not_one() {
    let ring = ring(32);
    let (mut writer, mut reader) = (Writer::private(&ring), Reader::private(&ring));
    let lookalike: Vec<u8> =
        [4u32, MAGIC_READY].iter().cycle().take(20).flat_map(|w| w.to_ne_bytes()).collect();
    for _ in 0..50 {
        send(&mut writer, &lookalike[..lookalike.len() - 4]).unwrap();
        assert_eq!(receive(&mut reader).unwrap().unwrap().len(), 76);
        assert_eq!(receive(&mut reader), Ok(None));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send { len: usize, shrink: usize },
    Receive,
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..150usize, 0..20usize).prop_map(|(len, shrink)| Step::Send { len, shrink }),
        2 => Just(Step::Receive),
        1 => Just(Step::Look),
    ]
}

/// Words that the chunks of the model occupy, and the words of one more with `len` bytes claimed.
fn has_room(size: Size, model: &VecDeque<Vec<u8>>, len: usize) -> bool {
    let used: usize = model.iter().map(|c| 2 + c.len().div_ceil(4)).sum();
    let free = if used == 0 { size.words() as usize } else { size.words() as usize - used - 1 };
    free * 4 >= len + CHUNK_MARGIN
}

fn behaves_like_a_queue<W: Words + Copy>(
    words: W,
    mut writer: Writer<W>,
    mut reader: Reader<W>,
    steps: Vec<Step>,
    overwrite: bool,
) -> std::result::Result<(), TestCaseError> {
    let mut model: VecDeque<Vec<u8>> = VecDeque::new();
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Send { len, shrink } => {
                let fits = words.size().fits(len);
                let claim = if overwrite {
                    let mut dropped = 0;
                    let claim = writer.claim_over(len, || dropped += 1);
                    while fits && !has_room(words.size(), &model, len) {
                        model.pop_front();
                        dropped -= 1;
                    }
                    prop_assert_eq!(dropped, 0);
                    claim
                } else {
                    writer.claim(len)
                };
                if !fits || !has_room(words.size(), &model, len) {
                    prop_assert_eq!(claim.err(), Some(if overwrite { Error::Invalid } else { Error::Busy }));
                    continue;
                }
                let claim = claim.unwrap();
                let data: Vec<u8> = (0..len.saturating_sub(shrink)).map(|i| (n + i) as u8).collect();
                let (a, b) = data.split_at(data.len() / 3);
                writer.fill(&claim, 0, a).unwrap();
                writer.fill(&claim, a.len(), b).unwrap();
                writer.commit(claim, data.len()).unwrap();
                model.push_back(data);
            }
            Step::Receive => prop_assert_eq!(receive(&mut reader).unwrap(), model.pop_front()),
            Step::Look => {
                let seen = reader.surely().unwrap();
                prop_assert_eq!(seen.as_ref().map(Chunk::len), model.front().map(Vec::len));
                if let Some(chunk) = seen {
                    let mut out = vec![0; chunk.len().saturating_sub(1)];
                    reader.copy(&chunk, chunk.len().min(1), &mut out).unwrap();
                    prop_assert_eq!(&out[..], &model[0][chunk.len().min(1)..]);
                    prop_assert!(reader.copy(&chunk, 1, &mut vec![0; chunk.len()]).is_err());
                }
            }
        }
    }
    Ok(())
}

/// A word of the ring and what a peer stores there: anything, with a liking for what might do harm.
fn damage() -> impl Strategy<Value = (u32, u32)> {
    let value = prop_oneof![
        any::<u32>(),
        0..200u32,
        Just(MAGIC_READY),
        Just(MAGIC_ALLOC),
        Just(MAGIC_DEAD),
        Just(u32::MAX),
        Just(u32::MAX - 12),
    ];
    (0..66u32, value)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn private_ends_behave_like_a_queue(words in 8..120u32, steps in prop::collection::vec(step(), 0..300)) {
        let ring = ring(words);
        behaves_like_a_queue(&ring, Writer::private(&ring), Reader::private(&ring), steps, false)?;
    }

    #[test]
    fn shared_ends_behave_like_a_queue(words in 8..120u32, steps in prop::collection::vec(step(), 0..300)) {
        let ring = ring(words);
        behaves_like_a_queue(&ring, Writer::shared(&ring), Reader::shared(&ring), steps, false)?;
    }

    #[test]
    fn overwriting_behaves_like_a_queue_that_forgets(
        words in 8..120u32,
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let ring = ring(words);
        behaves_like_a_queue(&ring, Writer::shared(&ring), Reader::shared(&ring), steps, true)?;
    }

    #[test]
    fn whatever_a_peer_stores_the_result_is_ok_or_an_error(
        steps in prop::collection::vec((step(), prop::option::of(damage())), 0..300),
        private in any::<bool>(),
        overwrite in any::<bool>(),
    ) {
        let ring = ring(64);
        let (mut writer, mut reader) = if private {
            (Writer::private(&ring), Reader::private(&ring))
        } else {
            (Writer::shared(&ring), Reader::shared(&ring))
        };
        let tolerable = |e: Error| matches!(e, Error::Busy | Error::Corrupt | Error::Invalid);
        for (step, damage) in steps {
            match damage {
                Some((64, value)) => ring.write_pt().set(value),
                Some((65, value)) => ring.read_pt().set(value),
                Some((index, value)) => ring.word(index).unwrap().set(value),
                None => {}
            }
            let outcome = match step {
                Step::Send { len, shrink } => {
                    let claim = if overwrite { writer.claim_over(len, || ()) } else { writer.claim(len) };
                    claim.and_then(|claim| {
                        writer.fill(&claim, 0, &vec![1; len])?;
                        writer.commit(claim, len.saturating_sub(shrink))
                    })
                }
                Step::Receive => receive(&mut reader).map(|_| ()),
                Step::Look => reader.front().and_then(|chunk| {
                    let Some(chunk) = chunk else { return Ok(()) };
                    holds(ring.size().fits(chunk.len()));
                    reader.copy(&chunk, 0, &mut vec![0; chunk.len()])
                }),
            };
            if let Err(e) = outcome {
                prop_assert!(tolerable(e), "{:?}", e);
            }
            let _ = (writer.space_free(), reader.space_used(), writer.claimed().map(|c| c.len()));
        }
    }

    #[test]
    fn a_private_end_goes_on_whatever_the_peer_does_to_its_index(
        stores in prop::collection::vec(any::<u32>(), 1..100),
    ) {
        let ring = ring(64);
        let (mut writer, mut reader) = (Writer::private(&ring), Reader::private(&ring));
        for (n, value) in stores.into_iter().enumerate() {
            ring.write_pt().set(value);
            send(&mut writer, &n.to_ne_bytes()).unwrap();
            let published = ring.read_pt().get();
            ring.read_pt().set(value); // the reader's own index
            let got = receive(&mut reader).unwrap().unwrap();
            prop_assert_eq!(got, n.to_ne_bytes());
            prop_assert!(ring.read_pt().get() < 64 && ring.read_pt().get() != published);
        }
    }

    #[test]
    fn a_dump_header_survives_and_damage_to_it_does_not(
        words in 4..5000u32, at in any::<(u32, u32)>(), damaged in 0..20usize, bit in 0..8u32,
    ) {
        let size = Size::new(words).unwrap();
        let header = Header { size, write_pt: at.0 % words, read_pt: at.1 % words };
        let raw = header.encode();
        prop_assert_eq!(Header::decode(&raw, size.bytes() as u64), Ok(header));
        prop_assert_eq!(Header::decode(&raw, size.bytes() as u64 - 1), Err(Error::Corrupt));
        let mut other = raw;
        other[damaged] ^= 1 << bit;
        prop_assert_eq!(Header::decode(&other, u64::MAX), Err(Error::Corrupt));
    }

    #[test]
    fn any_dump_header_is_decoded_or_refused(raw in any::<[u8; 20]>(), behind in any::<u64>()) {
        if let Ok(header) = Header::decode(&raw, behind) {
            prop_assert!(header.write_pt < header.size.words() && header.read_pt < header.size.words());
            prop_assert!(header.size.bytes() as u64 <= behind);
        }
    }
}

fn holds(claim: bool) {
    assert!(claim, "a chunk longer than its ring was handed out");
}

#[test]
fn a_dump_header_with_a_right_hash_and_wrong_numbers_is_refused() {
    for (words, write, read, version) in [
        (1024, 1024, 0, 1),
        (1024, 0, 1024, 1),
        (1024, 0, 0, 2),
        (3, 0, 0, 1),
        (u32::MAX, 0, 0, 1),
        (0, 0, 0, 1),
    ] {
        let hash = u32::wrapping_add(words, write + read + version);
        let raw: Vec<u8> = [words, write, read, version, hash].iter().flat_map(|w| w.to_ne_bytes()).collect();
        assert_eq!(Header::decode(raw[..].try_into().unwrap(), u64::MAX), Err(Error::Corrupt));
    }
}
