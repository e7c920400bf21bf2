// SPDX-License-Identifier: LGPL-2.1-or-later
//! Claims about the loop.

use super::*;
use crate::sync::Mutex;
use std::sync::Arc;

fn note(log: &Arc<Mutex<Vec<i32>>>, n: i32) -> impl FnOnce() + Send + 'static {
    let log = Arc::clone(log);
    move || log.lock().push(n)
}

#[test]
fn jobs_of_a_level_run_in_order_and_higher_levels_first() {
    let l = Loop::new().unwrap();
    let log = Arc::default();
    for (prio, n) in
        [(Priority::Low, 5), (Priority::Med, 3), (Priority::Med, 4), (Priority::High, 1), (Priority::High, 2)]
    {
        l.job_add(prio, Job::new(note(&log, n))).unwrap();
    }
    let ender = Arc::clone(&l);
    l.job_add(Priority::Low, Job::new(move || ender.stop())).unwrap();
    l.run();
    assert_eq!(*log.lock(), [1, 2, 3, 4, 5]);
}
