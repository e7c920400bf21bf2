// SPDX-License-Identifier: LGPL-2.1-or-later
//! Doc comments: from the lines of a Rust file to paragraphs of a C header.

use crate::tidy::WIDTH;

/// The C comment for the text lines of a doc comment; empty if nothing is left of it.
pub fn render(body: &[&str]) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let (mut in_safety, mut in_code) = (false, false);
    for line in body {
        let line = line.strip_prefix(" *").unwrap_or(line);
        let line = line.strip_prefix(' ').unwrap_or(line);
        if let Some(title) = line.strip_prefix("# ") {
            in_safety = title.trim() == "Safety";
        }
        if in_safety {
            continue;
        }
        if line.starts_with("```") {
            in_code = !in_code;
            blocks.push(if in_code { "@code" } else { "@endcode" }.to_owned());
        } else if in_code {
            blocks.push(format!("{VERBATIM}{line}"));
        } else {
            match blocks.last_mut() {
                Some(last) if continues(last, line) => {
                    last.push(' ');
                    last.push_str(line.trim_start());
                }
                _ => blocks.push(line.to_owned()),
            }
        }
    }
    while blocks.last().is_some_and(String::is_empty) {
        blocks.pop();
    }
    if blocks.is_empty() {
        return Vec::new();
    }
    let mut out = vec!["/**".to_owned()];
    out.extend(blocks.iter().flat_map(|block| wrap(block)));
    out.push(" */".to_owned());
    out
}

/// Marks a line of code, which is not filled.
const VERBATIM: char = '\u{1}';

/// Whether `line` goes on with the paragraph, tag or list item `block`.
fn continues(block: &str, line: &str) -> bool {
    let text = line.trim_start();
    let starts_something = text.starts_with("@param")
        || ["@return", "@retval", "@note", "@see", "@deprecated", "-", "*", "|", "#"]
            .contains(&text.split(' ').next().unwrap_or_default());
    let closed = block.is_empty() || block == "@endcode" || block.starts_with([VERBATIM, '|', '#']);
    !text.is_empty() && !starts_something && !closed
}

/// One block, cut at spaces to the width; what follows is indented like the text after `@param name` or `@return`.
fn wrap(block: &str) -> Vec<String> {
    if let Some(code) = block.strip_prefix(VERBATIM) {
        return vec![format!(" * {code}").trim_end().to_owned()];
    }
    let hang = " ".repeat(hanging_indent(block));
    let mut lines = Vec::new();
    let mut line = String::from(" *");
    let mut is_empty = true;
    // Runs of spaces inside the first words (aligned @param texts) are kept.
    for word in block.split_inclusive(' ') {
        let bare = word.trim_end();
        if !is_empty && line.trim_end().len() + 1 + bare.len() > WIDTH && line.len() + bare.len() > WIDTH {
            lines.push(line.trim_end().to_owned());
            line = format!(" * {hang}");
        } else if is_empty && line == " *" {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = is_empty && bare.is_empty();
    }
    lines.push(line.trim_end().to_owned());
    lines
}

fn hanging_indent(block: &str) -> usize {
    let own = block.len() - block.trim_start().len();
    let text = block.trim_start();
    let skip_words = match text.split(' ').next() {
        Some(word) if word.starts_with("@param") || word == "@retval" => 2,
        Some("@return" | "@note" | "@see" | "@deprecated" | "-" | "*") => 1,
        _ => return own,
    };
    let mut at = 0;
    for _ in 0..skip_words {
        let word = text[at..].find(' ').map_or(text.len(), |n| at + n);
        at = word + text[word..].len() - text[word..].trim_start().len();
    }
    own + at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tag_lines_are_wrapped_under_their_text() {
        let long = format!("@param c   {}", "word ".repeat(30));
        let lines = wrap(long.trim_end());
        assert!(lines.len() > 1);
        assert!(lines.iter().all(|line| line.len() <= WIDTH));
        assert!(lines[0].starts_with(" * @param c   word"), "{lines:?}");
        assert!(lines[1].starts_with(" *            word"), "{lines:?}");
    }

    #[test]
    fn a_word_that_cannot_be_cut_stays_whole() {
        let word = "x".repeat(120);
        assert_eq!(wrap(&word), [format!(" * {word}")]);
    }

    #[test]
    fn lines_of_a_paragraph_are_joined_and_tags_are_not() {
        let body = [" * One", " * two.", " *", " * @param a that", " *          goes on", " * @return it"];
        let want = ["/**", " * One two.", " *", " * @param a that goes on", " * @return it", " */"];
        assert_eq!(render(&body), want);
    }

    #[test]
    fn code_stays_as_it_is() {
        let body = [" * Text", " * ```c", " * a();", " *     b();", " * ```", " * More."];
        let want = ["/**", " * Text", " * @code", " * a();", " *     b();", " * @endcode", " * More.", " */"];
        assert_eq!(render(&body), want);
    }
}
