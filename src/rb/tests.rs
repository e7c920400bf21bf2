// SPDX-License-Identifier: LGPL-2.1-or-later
//! Messages through rings in files, the files themselves, and what a peer does to either.

use super::*;
use crate::Error;
use crate::sys::dir::Dir;
use crate::sys::mmap::Touch;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn euid() -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap())
}

struct Scratch(Dir);

impl Scratch {
    fn new() -> Self {
        Self(Dir::create_unique(Path::new("/dev/shm"), b"qb-rs-rb-test-").unwrap())
    }

    fn create(&self, name: &str, size: usize, user_data: usize) -> RingFiles {
        let path = self.0.path().join(name);
        RingFiles::create_in(&self.0, name, &path, size, user_data, None, 0o600, true, false).unwrap()
    }

    fn open(&self, name: &str, size: usize, user_data: usize) -> crate::Result<RingFiles> {
        let expect = Expect { size, user_data, owners: &[euid()] };
        RingFiles::open_in(&self.0, name, &expect)
    }

    fn pair(&self, size: usize) -> (Producer, Consumer) {
        let files = self.create("pair", size, 4);
        let other = self.open("pair", size, 4).unwrap();
        (Producer::new(Arc::new(files)), Consumer::new(Arc::new(other)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.path());
    }
}

fn take(consumer: &mut Consumer) -> Option<Vec<u8>> {
    let chunk = consumer.peek().unwrap()?;
    let mut out = vec![0; chunk.len()];
    consumer.copy(&chunk, 0, &mut out).unwrap();
    consumer.reclaim(chunk).unwrap();
    Some(out)
}

#[test]
fn parts_arrive_as_one_message_in_order_round_and_round() {
    let scratch = Scratch::new();
    let (mut producer, mut consumer) = scratch.pair(8000);
    assert_eq!(take(&mut consumer), None);
    for i in 0..5000usize {
        let body = vec![i as u8; i % 1500];
        assert_eq!(producer.send(&[b"ab", &body, b"z"]), Ok(body.len() + 3));
        assert_eq!(consumer.queued(), Ok(1));
        assert!(consumer.ready());
        assert_eq!(take(&mut consumer).unwrap(), [b"ab", &body[..], b"z"].concat());
        assert!(!consumer.ready());
    }
}

#[test]
fn a_full_ring_is_busy_and_keeps_the_older_messages() {
    let scratch = Scratch::new();
    let (mut producer, mut consumer) = scratch.pair(4000);
    let mut sent = 0u32;
    while producer.send(&[&sent.to_ne_bytes(), &[0; 60]]).is_ok() {
        sent += 1;
    }
    assert_eq!(producer.send(&[&[0; 64]]), Err(Error::Busy));
    assert_eq!(consumer.queued(), Ok(sent));
    for i in 0..sent {
        assert_eq!(take(&mut consumer).unwrap()[..4], i.to_ne_bytes());
    }
    assert_eq!(take(&mut consumer), None);
    assert!(producer.send(&[&[0; 4096 - 12]]).is_ok());
    assert_eq!(take(&mut consumer).unwrap().len(), 4096 - 12);
    assert_eq!(producer.send(&[&[0; 4096 - 11]]), Err(Error::Busy));
}

#[test]
fn a_message_can_be_put_back_and_lent() {
    let scratch = Scratch::new();
    let (mut producer, mut consumer) = scratch.pair(4000);
    producer.send(&[b"hello"]).unwrap();
    producer.send(&[b"next"]).unwrap();
    let chunk = consumer.peek().unwrap().unwrap();
    consumer.put_back(chunk).unwrap();
    let chunk = consumer.peek().unwrap().unwrap();
    let lent = consumer.lend(&chunk, &Trusted::vouch(0).unwrap()).unwrap();
    assert_eq!(lent.bytes(consumer.files()), b"hello");
    assert!(consumer.copy(&chunk, 3, &mut [0; 3]).is_err());
    assert!(consumer.is_lent());
    assert!(consumer.peek().unwrap().is_none(), "neither the same one again nor the next one");
    consumer.reclaim(chunk).unwrap();
    assert_eq!(take(&mut consumer).as_deref(), Some(&b"next"[..]));
    assert!(Trusted::vouch(euid()).is_some());
    assert!(Trusted::vouch(euid() + 12345).is_none());
}

#[test]
fn a_message_that_wraps_is_lent_from_a_mirrored_ring_only() {
    for mirrored in [false, true] {
        let scratch = Scratch::new();
        let path = scratch.0.path().join("m");
        let made =
            RingFiles::create_in(&scratch.0, "m", &path, 4000, 4, None, 0o600, true, mirrored).unwrap();
        let mut producer = Producer::new(Arc::new(scratch.open("m", 4000, 4).unwrap()));
        let mut consumer = Consumer::new(Arc::new(made));
        producer.send(&[&[1; 3000]]).unwrap();
        assert_eq!(take(&mut consumer).map(|m| m.len()), Some(3000));
        producer.send(&[&[2; 2000]]).unwrap();
        let chunk = consumer.peek().unwrap().unwrap();
        let lent = consumer.lend(&chunk, &Trusted::vouch(0).unwrap());
        assert_eq!(lent.is_some(), mirrored);
        assert!(lent.is_none_or(|lent| lent.bytes(consumer.files()) == [2; 2000]));
        consumer.reclaim(chunk).unwrap();
    }
}

#[test]
fn a_count_without_a_message_is_put_back_and_nonsense_counts_are_corrupt() {
    let scratch = Scratch::new();
    let (_producer, mut consumer) = scratch.pair(4000);
    consumer.files().semaphore().unwrap().post().unwrap();
    assert!(consumer.peek().unwrap().is_none());
    assert_eq!(consumer.queued(), Ok(1));
    for _ in 0..600 {
        consumer.files().semaphore().unwrap().post().unwrap();
    }
    assert_eq!(consumer.queued(), Err(Error::Corrupt));
}

#[test]
fn waiting_ends_with_a_message_or_with_the_time() {
    let scratch = Scratch::new();
    let (mut producer, mut consumer) = scratch.pair(4000);
    assert_eq!(consumer.wait(Duration::from_millis(5)), Ok(false));
    let sender = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        producer.send(&[b"x"]).unwrap();
    });
    assert_eq!(consumer.wait(Duration::from_secs(30)), Ok(true));
    assert_eq!(consumer.wait(Duration::from_secs(30)), Ok(true)); // not taken
    assert_eq!(take(&mut consumer).unwrap(), b"x");
    sender.join().unwrap();
}

#[test]
fn only_exactly_the_expected_files_are_opened() {
    let scratch = Scratch::new();
    let made = scratch.create("r", 4000, 4);
    assert_eq!(made.ref_count(), 1);
    assert_eq!(scratch.open("r", 4000, 0).err(), Some(Error::Corrupt));
    assert_eq!(scratch.open("r", 9000, 4).err(), Some(Error::Corrupt));
    let foreign = Expect { size: 4000, user_data: 4, owners: &[euid() + 1] };
    assert_eq!(RingFiles::open_in(&scratch.0, "r", &foreign).err(), Some(Error::Os(libc::EPERM)));
    let path = scratch.0.path();
    std::fs::hard_link(path.join("r-data"), path.join("more")).unwrap();
    assert_eq!(scratch.open("r", 4000, 4).err(), Some(Error::Corrupt));
    std::fs::remove_file(path.join("more")).unwrap();
    made.header().word(8).unwrap().set(7);
    assert_eq!(scratch.open("r", 4000, 4).err(), Some(Error::Corrupt));
    made.header().word(8).unwrap().set(1024);
    assert_eq!(made.ref_count(), 1);
    let opened = scratch.open("r", 4000, 4).unwrap();
    assert_eq!(made.ref_count(), 2);
    made.user_word(0).unwrap().set(77);
    assert_eq!(opened.user_word(0).unwrap().get(), 77);
    assert!(opened.user_word(1).is_none());
    opened.set_ref_count(1);
    assert_eq!(made.ref_count(), 1);
}

#[test]
fn a_failed_creation_leaves_nothing_and_takes_nothing() {
    let scratch = Scratch::new();
    let path = scratch.0.path().join("r");
    std::fs::write(scratch.0.path().join("r-data"), b"mine").unwrap();
    let made = RingFiles::create_in(&scratch.0, "r", &path, 4000, 4, None, 0o600, true, false);
    assert_eq!(made.err(), Some(Error::Os(libc::EEXIST)));
    assert!(!scratch.0.path().join("r-header").exists());
    assert_eq!(std::fs::read(scratch.0.path().join("r-data")).unwrap(), b"mine");
    let huge = RingFiles::create_in(&scratch.0, "s", &path, usize::MAX, 4, None, 0o600, true, false);
    assert_eq!(huge.err(), Some(Error::Invalid));
    let huge = RingFiles::create_in(&scratch.0, "s", &path, 1 << 40, 4, None, 0o600, true, false);
    assert_eq!(huge.err(), Some(Error::Os(libc::EFBIG)));
}

#[test]
fn files_that_took_the_names_are_not_unlinked() {
    let scratch = Scratch::new();
    let made = scratch.create("r", 4000, 4);
    std::fs::remove_file(scratch.0.path().join("r-data")).unwrap();
    std::fs::write(scratch.0.path().join("r-data"), b"other").unwrap();
    made.unlink(&scratch.0);
    assert!(!scratch.0.path().join("r-header").exists());
    assert_eq!(std::fs::read(scratch.0.path().join("r-data")).unwrap(), b"other");
}

#[test]
fn truncated_files_disconnect_both_ends() {
    let scratch = Scratch::new();
    let (mut producer, mut consumer) = scratch.pair(4000);
    producer.send(&[b"x"]).unwrap();
    let data = std::fs::OpenOptions::new().write(true).open(scratch.0.path().join("pair-data")).unwrap();
    data.set_len(0).unwrap();
    assert_eq!(consumer.peek().err(), Some(Error::Disconnected));
    assert_eq!(producer.send(&[b"x"]), Err(Error::Disconnected));
    assert!(producer.files().is_dead() && consumer.files().is_dead());
    let header = std::fs::OpenOptions::new().write(true).open(scratch.0.path().join("pair-header")).unwrap();
    header.set_len(0).unwrap();
    assert_eq!(consumer.queued(), Err(Error::Disconnected));
    assert_eq!(consumer.wait(Duration::from_secs(30)), Err(Error::Disconnected));
}

#[test]
fn an_index_outside_the_ring_is_corrupt_and_our_own_copies_are_ignored() {
    let scratch = Scratch::new();
    let (mut producer, mut consumer) = scratch.pair(4000);
    let files = Arc::clone(producer.files());
    producer.send(&[&[1; 3000]]).unwrap();
    files.header().word(0).unwrap().set(999); // write_pt
    files.header().word(8).unwrap().set(0); // word_size
    assert_eq!(producer.send(&[b"abc"]), Ok(3));
    assert_eq!(take(&mut consumer).unwrap().len(), 3000);
    assert_eq!(take(&mut consumer).unwrap(), b"abc");
    producer.send(&[&[2; 2000]]).unwrap();
    files.header().word(4).unwrap().set(1024); // read_pt: not below the length
    assert_eq!(producer.send(&[&[2; 3000]]), Err(Error::Corrupt));
    assert_eq!(producer.space_free(), Err(Error::Corrupt));
    assert_eq!(take(&mut consumer).unwrap(), [2; 2000]);
}

/// Pages of the data area that the kernel has mapped for this end.
fn mapped(files: &RingFiles) -> usize {
    let (page, data) = (crate::sys::mmap::page_size(), files.data());
    let first = data.address(0, 1).unwrap().as_ptr() as usize / page;
    let mut entries = vec![0; data.len() / page * 8];
    std::fs::File::open("/proc/self/pagemap").unwrap().read_exact_at(&mut entries, first as u64 * 8).unwrap();
    entries.chunks(8).filter(|entry| entry[7] & 0x80 != 0).count()
}

#[test]
fn the_first_way_through_a_ring_has_few_page_faults() {
    const SIZE: usize = 1 << 20;
    let scratch = Scratch::new();
    let (mut producer, mut consumer) = scratch.pair(SIZE);
    let fresh = scratch.create("fresh", SIZE, 4);
    // Before Linux 5.14 each page has a fault at either end.
    let most = if fresh.data().populate(0, SIZE / 2, Touch::Write).is_ok() { 8 } else { usize::MAX };
    let (mut steps, mut before) = ([0; 2], [0; 2]);
    for _ in 0..2 * SIZE / 512 {
        assert_eq!(producer.send(&[&[7; 500]]), Ok(500));
        let chunk = consumer.peek().unwrap().unwrap();
        consumer.reclaim(chunk).unwrap();
        let now = [mapped(producer.files()), mapped(consumer.files())];
        for end in 0..2 {
            steps[end] += usize::from(now[end] > before[end]);
        }
        before = now;
    }
    assert_eq!(
        before,
        [SIZE / crate::sys::mmap::page_size() + 1; 2],
        "one more than asked for, as the margin needs it"
    );
    assert!(steps.iter().all(|steps| *steps <= most), "{steps:?} steps for {before:?} pages");
}

#[test]
fn few_messages_map_few_pages() {
    let scratch = Scratch::new();
    let (mut producer, mut consumer) = scratch.pair(1 << 20);
    producer.send(&[&[1; 64]]).unwrap();
    let _ = consumer.peek().unwrap().unwrap();
    for files in [producer.files(), consumer.files()] {
        // The kernel maps up to 16 around a fault where they are in memory.
        assert!((1..=16).contains(&mapped(files)), "{} pages", mapped(files));
    }
}
