// SPDX-License-Identifier: LGPL-2.1-or-later
//! A ring on the heap: as long as nobody stores into it, it is a queue; afterwards it may be anything, but never a panic or an
//! access outside of it.

use crate::Source;
use qb::Error;
use qb::ring::dump::Header;
use qb::ring::{HeapRing, Reader, Words, Writer};
use std::collections::VecDeque;

struct Model {
    queue: VecDeque<Vec<u8>>,
    /// Nobody has stored anything into the ring.
    clean: bool,
}

fn write(writer: &mut Writer<&HeapRing>, source: &mut Source<'_>, model: &mut Model) {
    let (len, keep) = (usize::from(source.byte()), usize::from(source.byte()));
    let data: Vec<u8> = (0..len).map(|i| (i as u8).wrapping_mul(7).wrapping_add(keep as u8)).collect();
    match writer.claim(len) {
        Ok(claim) => {
            assert_eq!(claim.len(), len);
            let half = len / 2;
            writer.fill(&claim, half, &data[half..]).expect("it fits");
            writer.fill(&claim, 0, &data[..half]).expect("it fits");
            assert_eq!(writer.fill(&claim, len, &[1]), Err(Error::Invalid));
            let committed = len.min(keep);
            if writer.commit(claim, committed).is_ok() {
                model.queue.push_back(data[..committed].to_vec());
            } else {
                assert!(!model.clean);
            }
        }
        Err(e) => assert!(e == Error::Busy || !model.clean),
    }
}

fn read(reader: &mut Reader<&HeapRing>, front: bool, model: &mut Model, bytes: usize) {
    // `front` is for those who know that there is one.
    let known = model.clean && !model.queue.is_empty();
    let chunk = if front && (known || !model.clean) { reader.front() } else { reader.surely() };
    match chunk {
        Ok(Some(chunk)) => {
            assert!(chunk.len() <= bytes);
            let (start, linear) = reader.place(&chunk);
            assert!(start + linear <= bytes && linear <= chunk.len());
            let mut out = vec![0; chunk.len()];
            reader.copy(&chunk, 0, &mut out).expect("all of a chunk can be copied");
            assert_eq!(reader.copy(&chunk, 1, &mut vec![0; chunk.len()]), Err(Error::Invalid));
            reader.reclaim(chunk).expect("what was read can be reclaimed");
            if model.clean {
                assert_eq!(Some(out), model.queue.pop_front());
            }
        }
        Ok(None) => assert!(!model.clean || model.queue.is_empty()),
        Err(_) => assert!(!model.clean),
    }
}

/// Reads and writes, and stores of a peer between them.
pub fn ring(data: &[u8]) {
    if let Some((raw, behind)) = data.split_first_chunk::<{ Header::LEN }>()
        && let Ok(header) = Header::decode(raw, behind.len() as u64)
    {
        assert_eq!(header.encode(), *raw);
        assert!(header.size.bytes() <= behind.len());
    }
    let mut source = Source(data);
    let setup = source.byte();
    let words = 16 + u32::from(source.byte());
    let ring = HeapRing::new(words).expect("a short ring is a ring");
    let shared_reader = setup & 2 != 0;
    let mut writer = if setup & 1 == 0 { Writer::private(&ring) } else { Writer::shared(&ring) };
    let mut reader = if shared_reader { Reader::shared(&ring) } else { Reader::private(&ring) };
    let mut model = Model { queue: VecDeque::new(), clean: true };
    let bytes = words as usize * 4;
    while !source.is_empty() {
        match source.byte() % 10 {
            0 | 1 => write(&mut writer, &mut source, &mut model),
            2 => read(&mut reader, true, &mut model, bytes),
            3 => read(&mut reader, false, &mut model, bytes),
            4 => {
                let at = source.value(words) % words;
                ring.word(at).expect("it is inside").set(source.value(words));
                model.clean = false;
            }
            5 => {
                ring.write_pt().set(source.value(words));
                model.clean = false;
            }
            6 => {
                ring.read_pt().set(source.value(words));
                model.clean = false;
            }
            7 => {
                let free = writer.space_free().map_or(0, |n| n);
                let used = reader.space_used().map_or(0, |n| n);
                assert!(free <= bytes && used <= bytes);
            }
            8 if shared_reader || !model.clean => {
                let len = usize::from(source.byte());
                let mut dropped = 0;
                let claim = writer.claim_over(len, || dropped += 1);
                assert!(dropped <= words as usize);
                if model.clean {
                    model.queue.drain(..dropped);
                }
                match claim {
                    Ok(claim) => {
                        writer.fill(&claim, 0, &vec![9; len]).expect("it fits");
                        writer.commit(claim, len).expect("it was claimed");
                        model.queue.push_back(vec![9; len]);
                    }
                    Err(_) => assert!(
                        !model.clean || len + qb::ring::CHUNK_MARGIN > bytes || model.queue.is_empty()
                    ),
                }
            }
            _ => {
                let _ = reader.is_ready();
                if let Ok(claim) = writer.claimed() {
                    assert!(claim.len() <= bytes);
                }
            }
        }
    }
}
