// SPDX-License-Identifier: LGPL-2.1-or-later
//! Every seed of every target, and a number of changes of each, the same ones each time. `QB_REPLAY_CHANGES` says how many.

#![allow(clippy::unwrap_used, reason = "functions of a test")]

use std::path::Path;

/// Marsaglia's xorshift: the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % n.max(1)
    }
}

fn changed(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + random.below(6) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 if !bytes.is_empty() => bytes.truncate(at),
            1 => bytes.insert(at, u8::try_from(random.below(256)).unwrap()),
            2 if !bytes.is_empty() => {
                let tail = bytes[at..bytes.len().min(at + 16)].to_vec();
                bytes.extend(tail);
            }
            _ if !bytes.is_empty() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            _ => bytes.push(0),
        }
    }
    bytes
}

#[test]
fn no_seed_and_no_change_of_one_is_a_finding() {
    let changes = std::env::var("QB_REPLAY_CHANGES").ok().and_then(|v| v.parse().ok()).unwrap_or(40);
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds");
    for (name, case) in qb_fuzz_cases::CASES {
        let mut files: Vec<_> =
            std::fs::read_dir(seeds.join(name)).unwrap().flatten().map(|file| file.path()).collect();
        files.sort();
        let start = std::time::Instant::now();
        assert!(!files.is_empty(), "{name} has no seeds");
        for file in files {
            let seed = std::fs::read(&file).unwrap();
            // What a failure names.
            println!("{}", file.display());
            case(&seed);
            let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ seed.len() as u64);
            for n in 0..changes {
                let input = changed(&seed, &mut random);
                println!("change {n}: {input:02x?}");
                case(&input);
            }
        }
        println!("{name}: {:?}", start.elapsed());
    }
}
