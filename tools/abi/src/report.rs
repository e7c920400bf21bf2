// SPDX-License-Identifier: LGPL-2.1-or-later
//! Counts checks and prints the failed ones.

use std::process::ExitCode;

/// Passed, failed, allowed.
pub type Counts = (usize, usize, usize);

/// The running totals.
#[derive(Default)]
pub struct Report {
    passed: usize,
    failed: usize,
    allowed: usize,
}

impl Report {
    /// One check; `why` is printed if it failed.
    pub fn check(&mut self, ok: bool, why: impl FnOnce() -> String) {
        if ok {
            self.passed += 1;
        } else {
            self.fail(why());
        }
    }

    /// A failed check.
    pub fn fail(&mut self, why: String) {
        self.failed += 1;
        println!("FAIL {why}");
    }

    /// A difference that is meant, see the list in `allowed`.
    pub fn allow(&mut self, what: &str, reason: &str) {
        self.passed += 1;
        self.allowed += 1;
        println!("allowed: {what}: {reason}");
    }

    /// The totals so far, for [`since`](Self::since).
    pub fn counts(&self) -> Counts {
        (self.passed, self.failed, self.allowed)
    }

    /// What has been added to `before`, in words.
    pub fn since(&self, before: Counts) -> String {
        let (passed, failed, allowed) = before;
        let tail = match self.allowed - allowed {
            0 => String::new(),
            n => format!(" ({n} allowed differences)"),
        };
        format!("{} checks passed, {} failed{tail}", self.passed - passed, self.failed - failed)
    }

    /// The last line, and the exit status.
    pub fn finish(&self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
