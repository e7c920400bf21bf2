// SPDX-License-Identifier: LGPL-2.1-or-later
//! What a job or a timer does, once.

use std::fmt;

/// A closure, or a function with two words, which needs no memory of its own.
pub struct Task(Body);

enum Body {
    Boxed(Box<dyn FnOnce() + Send>),
    Plain { call: fn(usize, usize), words: (usize, usize) },
}

impl Task {
    /// Runs a closure.
    pub fn new(run: impl FnOnce() + Send + 'static) -> Self {
        Self(Body::Boxed(Box::new(run)))
    }

    /// Calls a function with two words.
    #[must_use]
    pub const fn plain(call: fn(usize, usize), words: (usize, usize)) -> Self {
        Self(Body::Plain { call, words })
    }

    pub(super) fn run(self) {
        match self.0 {
            Body::Boxed(run) => run(),
            Body::Plain { call, words } => call(words.0, words.1),
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}
