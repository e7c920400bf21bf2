// SPDX-License-Identifier: LGPL-2.1-or-later
//! Many threads at once, also for the thread sanitizer: what goes in comes out, whatever the configuration does meanwhile.

use super::control::{self, RuleOp, Setting};
use super::filter::Kind;
use super::{Delivery, Key, Parsed, Recipe, Sink, Step, emit, logger};
use crate::shm::Window;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// Counts what arrives, by thread, and whether it is in order.
#[derive(Default)]
struct Counter {
    lines: bool,
    next: [AtomicU64; 8],
    wrong: AtomicU64,
}

impl Sink for Counter {
    fn takes_lines(&self) -> bool {
        self.lines
    }
    fn log(&self, d: &Delivery<'_>) {
        let text = String::from_utf8_lossy(d.text);
        let text = text.trim_end_matches(['\0', '\n']).trim_start_matches("[info] ");
        let mut words = text.split(' ');
        let (thread, number) = (words.next().unwrap(), words.next().unwrap());
        let thread: usize = thread.parse().unwrap();
        if self.next[thread].fetch_add(1, SeqCst) != number.parse::<u64>().unwrap() {
            self.wrong.fetch_add(1, SeqCst);
        }
    }
    fn close(&self, _: usize) {}
}

/// The text, the same packed, and the recipe for packing it in place.
struct Text(Vec<u8>, Vec<u8>, Option<&'static Recipe>);

impl emit::Message for Text {
    fn text(&mut self, _: usize) -> &mut [u8] {
        &mut self.0
    }
    fn serial(&mut self, _: usize) -> &mut [u8] {
        &mut self.1
    }
    fn recipe(&self) -> Option<&'static Recipe> {
        self.2
    }
    fn measure(&mut self, recipe: &Recipe, room: usize, _: bool) -> Option<usize> {
        assert_eq!(recipe.steps().len(), 1);
        Some(self.0.len()).filter(|len| *len <= room)
    }
    fn store(&mut self, _: &Recipe, to: Window<'_>, _: bool) {
        assert_eq!(to.len(), self.0.len());
        to.put(0, &self.0).unwrap();
    }
}

fn parse(_: &CStr) -> Option<Parsed> {
    Some(Parsed { stored: b"%s\0".to_vec(), steps: vec![Step::default()], fixed: None })
}

fn log(format: &CStr, line: u32, text: String) {
    let key = Key { function: c"run", filename: c"tests.rs", format, message_id: None, priority: 6, line };
    let site = logger::site(&key, 0).unwrap();
    if emit::is_wanted(site.head()) {
        let packed = [&[0; emit::ROOM], &b"%s\0"[..], text.as_bytes(), b"\0"].concat();
        let recipe = site.recipe().filter(|_| line.is_multiple_of(2));
        emit::log(&site.view(), &mut Text([text.as_bytes(), b"\0"].concat(), packed, recipe));
    }
}

fn open(sink: &Arc<Counter>) -> i32 {
    let target = control::open(|_| Ok(Arc::clone(sink) as Arc<dyn Sink>)).unwrap();
    control::filter(target, RuleOp::Add, Kind::Format, c"counted", 0, 8).unwrap();
    control::set(target, Setting::Enabled(true)).unwrap();
    target
}

#[test]
fn every_message_of_every_thread_arrives_once_and_in_order() {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap();
    let messages: u64 = std::env::var("QB_TEST_MESSAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(5000);
    logger::install(logger::Hooks { filter: |_| (), stringify: |_, _| (), legacy: |_, _| (), parse });
    let none = || Arc::new(Counter::default()) as Arc<dyn Sink>;
    logger::init(c"log-tests", 8, 0, logger::Statics { syslog: none(), stderr: none(), stdout: none() })
        .unwrap();
    control::set(2, Setting::Size(100_000)).unwrap();
    control::filter(2, RuleOp::Add, Kind::Format, c"counted", 0, 8).unwrap();
    control::set(2, Setting::Enabled(true)).unwrap();
    let plain = Arc::new(Counter::default());
    let lines = Arc::new(Counter { lines: true, ..Counter::default() });
    let (_, _) = (open(&plain), open(&lines));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                scope.spawn(move || {
                    for number in 0..messages {
                        log(c"counted", 1 + (number % 100) as u32, format!("{thread} {number} of many"));
                    }
                })
            })
            .collect();
        let done = &done;
        scope.spawn(move || {
            // Other targets come and go.
            let other = Arc::new(Counter::default());
            while !done.load(SeqCst) {
                let target = control::open(|_| Ok(Arc::clone(&other) as Arc<dyn Sink>)).unwrap();
                control::set(target, Setting::Enabled(true)).unwrap();
                control::set_format(target, Some(c"%b")).unwrap();
                control::close(target);
                log(c"not wanted", 7, String::new());
            }
        });
        for thread in threads {
            thread.join().unwrap();
        }
        done.store(true, SeqCst);
    });
    for sink in [&plain, &lines] {
        assert_eq!(sink.wrong.load(SeqCst), 0);
        assert!(sink.next.iter().all(|n| n.load(SeqCst) == messages));
    }
    let file = tempfile();
    assert!(emit::dump_blackbox(&file).unwrap() > 100_000);
    use std::io::Seek;
    (&file).seek(std::io::SeekFrom::Start(0)).unwrap();
    let dump = super::dump::Dump::read(&file).unwrap();
    assert!(dump.records().count() > 500);
    assert!(dump.records().all(|r| r.is_ok_and(|r| r.message.ends_with(b"of many") && r.function == b"run")));
    logger::fini();
}

fn tempfile() -> std::fs::File {
    let path = std::env::temp_dir().join(format!("log-tests-{}", std::process::id()));
    let file =
        std::fs::File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file
}

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn rounds() -> usize {
    std::env::var("QB_TEST_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3000)
}

#[test]
fn damaged_dumps_are_read_without_harm() {
    let seeds = [
        &include_bytes!("../../fuzz/seeds/log_dump/one-record")[..],
        include_bytes!("../../fuzz/seeds/log_dump/old-header"),
    ];
    let mut random = Random(0x5eed_1234_5678_9abc);
    assert_eq!(super::dump::Dump::read(seeds[0]).unwrap().records().count(), 1);
    for _ in 0..rounds() {
        let mut file = seeds[random.below(2)].to_vec();
        for _ in 0..=random.below(8) {
            // Most of the damage goes where lengths are, and some makes numbers huge.
            let area = [140, 140, 140, file.len()][random.below(4)];
            let at = random.below(area);
            file[at] = [0, 1, 0x7f, 0x80, 0xff, random.below(256) as u8][random.below(6)];
        }
        if random.below(4) == 0 {
            file.truncate(random.below(200));
        }
        for start in [0, 20] {
            let words: Vec<u32> = file
                .get(start..start + 16)
                .unwrap_or(&[])
                .chunks_exact(4)
                .map(|c| u32::from_ne_bytes(c.try_into().unwrap()))
                .collect();
            let sum = words.iter().fold(0u32, |sum, w| sum.wrapping_add(*w));
            if let (Some(hash), true) = (
                file.get_mut(start + 16..start + 20),
                random.below(4) > 0 && words.first().is_some_and(|w| *w != 0),
            ) {
                hash.copy_from_slice(&sum.to_ne_bytes());
            }
        }
        if let Ok(dump) = super::dump::Dump::read(&file[..]) {
            let _ = (dump.position(), dump.space());
            assert!(dump.records().all(|r| r.is_err() || r.is_ok_and(|r| r.message.len() <= 511)));
        }
    }
}

#[test]
fn any_bytes_decode_within_the_limit() {
    let alphabet = b"%%%%%%sdxfclz*.-0189 #+'abI\0\0\x07\xff";
    let mut random = Random(0x0dec_0de0_0dec_0de1);
    for _ in 0..rounds() {
        let message: Vec<u8> =
            (0..random.below(120)).map(|_| alphabet[random.below(alphabet.len())]).collect();
        let max = [0, 1, 7, 511][random.below(4)];
        assert!(super::serial::decode(&message, max).len() <= max);
    }
}
