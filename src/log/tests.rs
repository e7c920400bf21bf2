// SPDX-License-Identifier: LGPL-2.1-or-later
//! Many threads at once, also for the thread sanitizer: what goes in comes out, whatever the configuration does meanwhile.

use super::control::{self, RuleOp, Setting};
use super::filter::Kind;
use super::{Delivery, Key, Sink, emit, logger};
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

struct Text(Vec<u8>, Vec<u8>);

impl emit::Message for Text {
    fn text(&mut self, _: usize) -> &mut [u8] {
        &mut self.0
    }
    fn serial(&mut self, _: usize) -> &[u8] {
        &self.1
    }
}

fn log(format: &CStr, line: u32, text: String) {
    let key = Key { function: c"run", filename: c"tests.rs", format, message_id: None, priority: 6, line };
    let site = logger::site(&key, 0).unwrap();
    if emit::is_wanted(site.head()) {
        let packed = [b"%s\0", text.as_bytes(), b"\0"].concat();
        emit::log(&site.view(), &mut Text([text.as_bytes(), b"\0"].concat(), packed));
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
    assert!(dump.records().all(|r| r.is_ok_and(|r| r.message.ends_with(b"of many"))));
    logger::fini();
}

fn tempfile() -> std::fs::File {
    let path = std::env::temp_dir().join(format!("log-tests-{}", std::process::id()));
    let file =
        std::fs::File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file
}
