// SPDX-License-Identifier: LGPL-2.1-or-later
//! Turns cbindgen's output into what a C programmer reads: no Safety sections (they speak to Rust callers), long
//! comment lines wrapped with the text of a Doxygen tag aligned.

const WIDTH: usize = 80;

/// Tidies the whole text of one header's prototypes.
pub fn tidy(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut comment: Option<Vec<String>> = None;
    for line in text.lines().map(str::trim_end) {
        match (&mut comment, line) {
            (None, "/**") => comment = Some(Vec::new()),
            (Some(body), " */") => {
                out.extend(render(body));
                comment = None;
            }
            (Some(body), _) => {
                let text = line.strip_prefix(" *").unwrap_or(line);
                body.push(text.strip_prefix(' ').unwrap_or(text).to_owned());
            }
            (None, _) => out.push(space_before_stars(line)),
        }
    }
    out.join("\n")
}

/// `void*` as `void *`, which is how cbindgen spells named arguments but not unnamed ones.
fn space_before_stars(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        if c == '*' && out.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

fn render(body: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut in_safety = false;
    for line in body {
        if let Some(title) = line.strip_prefix("# ") {
            in_safety = title.trim() == "Safety";
        }
        if !in_safety {
            lines.push(line.as_str());
        }
    }
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    if lines.is_empty() {
        return Vec::new();
    }
    let mut out = vec!["/**".to_owned()];
    for line in lines {
        out.extend(wrap(line));
    }
    out.push(" */".to_owned());
    out
}

/// One comment line, cut at spaces to `WIDTH`; what follows is indented like the text after `@param name` or `@return`.
fn wrap(line: &str) -> Vec<String> {
    if line.is_empty() {
        return vec![" *".to_owned()];
    }
    let indent = hanging_indent(line);
    let mut out = Vec::new();
    let mut rest = line;
    let mut prefix = " * ".to_owned();
    loop {
        let room = WIDTH.saturating_sub(prefix.len());
        // Preformatted text (indented code) stays as it is.
        let cut = match rest.char_indices().nth(room) {
            Some((limit, _)) if !line.starts_with("    ") => {
                rest[..=limit].rfind(' ').filter(|&at| at > indent.min(rest.len()) || !out.is_empty())
            }
            _ => None,
        };
        match cut {
            Some(at) if at > 0 => {
                out.push(format!("{prefix}{}", rest[..at].trim_end()));
                rest = rest[at..].trim_start();
                prefix = format!(" * {}", " ".repeat(indent));
            }
            _ => {
                out.push(format!("{prefix}{rest}"));
                return out;
            }
        }
    }
}

fn hanging_indent(line: &str) -> usize {
    let own = line.len() - line.trim_start().len();
    let text = line.trim_start();
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
    fn safety_sections_do_not_reach_the_header() {
        let text = "/**\n * Sends.\n *\n * # Safety\n * `c` is open.\n */\nint f(void);";
        assert_eq!(tidy(text), "/**\n * Sends.\n */\nint f(void);");
    }

    #[test]
    fn long_tag_lines_are_wrapped_under_their_text() {
        let long = format!("@param c   {}", "word ".repeat(30));
        let lines = wrap(long.trim_end());
        assert!(lines.len() > 1);
        assert!(lines.iter().all(|line| line.len() <= WIDTH));
        assert!(lines[1].starts_with(" *            word"), "{lines:?}");
    }

    #[test]
    fn unnamed_pointer_arguments_are_spaced_like_named_ones() {
        assert_eq!(tidy("void f(int (*cb)(void*, char**));"), "void f(int (*cb)(void *, char **));");
    }

    #[test]
    fn a_word_that_cannot_be_cut_stays_whole() {
        let word = "x".repeat(120);
        assert_eq!(wrap(&word), [format!(" * {word}")]);
    }
}
