// SPDX-License-Identifier: LGPL-2.1-or-later
//! Stored rules: which callsites a target wants, and which tags a callsite gets.

use super::site::SiteRef;
use crate::sys::regex::Regex;
use crate::{Error, Result};
use std::ffi::{CStr, CString};

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The file name is one of a comma list.
    File,
    /// The function name is one of a comma list.
    Function,
    /// The format contains the text.
    Format,
    /// A basic regular expression is found in the file name.
    FileRegex,
    /// A basic regular expression is found in the function name.
    FunctionRegex,
    /// A basic regular expression is found in the format.
    FormatRegex,
}

impl Kind {
    /// From the numbers of `enum qb_log_filter_type`.
    #[must_use]
    pub fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            0 => Kind::File,
            1 => Kind::Function,
            2 => Kind::Format,
            3 => Kind::FileRegex,
            4 => Kind::FunctionRegex,
            5 => Kind::FormatRegex,
            _ => return None,
        })
    }

    fn is_regex(self) -> bool {
        matches!(self, Kind::FileRegex | Kind::FunctionRegex | Kind::FormatRegex)
    }
}

/// A rule; the lowest number is the most urgent priority.
pub struct Rule {
    kind: Kind,
    text: CString,
    /// Most urgent priority that matches.
    high: u8,
    /// Least urgent priority that matches.
    low: u8,
    /// What a tag rule assigns.
    pub(super) tags: u32,
    regex: Option<Regex>,
}

impl Rule {
    /// A rule; [`Error::Invalid`] if `low` is more urgent than `high` or the expression does not compile.
    pub fn new(kind: Kind, text: &CStr, high: u8, low: u8, tags: u32) -> Result<Self> {
        let mut rule = Self::plain(kind, text, high, low, tags)?;
        if kind.is_regex() && text != c"*" {
            rule.regex = Some(Regex::new(text)?);
        }
        Ok(rule)
    }

    /// Without compiling an expression: for finding stored rules. A regex rule made so matches nothing.
    pub fn plain(kind: Kind, text: &CStr, high: u8, low: u8, tags: u32) -> Result<Self> {
        if low < high {
            return Err(Error::Invalid);
        }
        Ok(Self { kind, text: text.into(), high, low, tags, regex: None })
    }

    /// True if the text stands for any.
    pub(super) fn is_any(&self) -> bool {
        self.text.as_c_str() == c"*"
    }

    /// Does the callsite match?
    #[must_use]
    pub fn matches(&self, site: &SiteRef<'_>) -> bool {
        let priority = site.head.priority();
        if priority < self.high || priority > self.low {
            return false;
        }
        if self.is_any() {
            return true;
        }
        match self.kind {
            Kind::File => listed(self.text.to_bytes(), site.filename().to_bytes()),
            Kind::Function => listed(self.text.to_bytes(), site.function().to_bytes()),
            Kind::Format => contains(site.format().to_bytes(), self.text.to_bytes()),
            Kind::FileRegex => self.found(site.filename()),
            Kind::FunctionRegex => self.found(site.function()),
            Kind::FormatRegex => self.found(site.format()),
        }
    }

    fn found(&self, text: &CStr) -> bool {
        self.regex.as_ref().is_some_and(|re| re.found_in(text))
    }

    /// The same rule but for the tags.
    fn same(&self, other: &Rule) -> bool {
        self.kind == other.kind && self.text == other.text && self.high == other.high && self.low == other.low
    }

    /// Would a removal with these arguments take this stored rule?
    fn removed_by(&self, call: &Rule) -> bool {
        self.kind == call.kind
            && self.low <= call.low
            && self.high >= call.high
            && (call.is_any() || self.text == call.text)
    }
}

/// Rules in the order in which they were added.
#[derive(Default)]
pub struct Rules(pub(super) Vec<Rule>);

impl Rules {
    /// No rules.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends; [`Error::Exists`] for a duplicate (tags count only if `with_tags`).
    pub fn add(&mut self, rule: Rule, with_tags: bool) -> Result<&Rule> {
        if self.0.iter().any(|r| r.same(&rule) && (!with_tags || r.tags == rule.tags)) {
            return Err(Error::Exists);
        }
        self.0.push(rule);
        self.0.last().ok_or(Error::NoMemory)
    }

    /// Takes out the first rule of the same kind within the call's range and with its text, or any text for `*`.
    pub fn remove(&mut self, call: &Rule) -> Option<Rule> {
        let at = self.0.iter().position(|r| r.removed_by(call))?;
        Some(self.0.remove(at))
    }

    /// True if one of the rules matches.
    #[must_use]
    pub fn any(&self, site: &SiteRef<'_>) -> bool {
        self.0.iter().any(|rule| rule.matches(site))
    }

    /// The tags of the last rule that matches.
    #[must_use]
    pub fn tags(&self, site: &SiteRef<'_>) -> Option<u32> {
        self.0.iter().rev().find(|rule| rule.matches(site)).map(|rule| rule.tags)
    }
}

/// Is `name` one of the tokens of a comma list? A comma at the end adds no empty token.
fn listed(list: &[u8], name: &[u8]) -> bool {
    let list = list.strip_suffix(b",").unwrap_or(list);
    list.split(|b| *b == b',').any(|token| token == name)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|w| w == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_match_whole_names_only() {
        assert!(listed(b"a.c,b.c", b"b.c") && listed(b"a.c", b"a.c") && listed(b"", b""));
        assert!(!listed(b"a.c,b.c", b"b") && !listed(b"a.c,", b"") && listed(b"a,,b", b""));
        assert!(!listed(b"a,b", b"a,b"));
    }

    #[test]
    fn a_removal_takes_the_first_rule_inside_its_range() {
        let mut rules = Rules::new();
        rules.add(Rule::new(Kind::File, c"a", 0, 8, 0).unwrap(), false).unwrap();
        rules.add(Rule::new(Kind::File, c"b", 3, 5, 0).unwrap(), false).unwrap();
        assert!(rules.remove(&Rule::plain(Kind::File, c"*", 3, 7, 0).unwrap()).is_some());
        assert_eq!(rules.0.len(), 1);
        assert!(rules.remove(&Rule::plain(Kind::File, c"a", 1, 8, 0).unwrap()).is_none());
    }

    #[test]
    fn long_names_match_in_full() {
        let name = CString::new(vec![b'x'; 3000]).unwrap();
        assert!(
            listed(name.to_bytes(), name.to_bytes()) && !listed(name.to_bytes(), &name.to_bytes()[..498])
        );
    }
}
