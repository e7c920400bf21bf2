// SPDX-License-Identifier: LGPL-2.1-or-later
//! Turns cbindgen's output into what a C programmer reads: only what this library defines, no Safety sections (they speak
//! to Rust callers), comments and argument lists filled to the width of the headers.

use crate::comment;

/// Columns of a header.
pub const WIDTH: usize = 80;

/// Tidies the whole text of one header's prototypes.
pub fn tidy(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let mut item: Vec<String> = Vec::new();
    while let Some(line) = lines.next() {
        if line == "/**" {
            let body: Vec<_> = lines.by_ref().take_while(|line| *line != " */").collect();
            item = comment::render(&body);
            continue;
        }
        if line.starts_with("QB_GNUC_DEPRECATED") {
            item.push(line.to_owned());
            continue;
        }
        let mut prototype = space_before_stars(line);
        while !prototype.ends_with(';') {
            let Some(more) = lines.next() else { break };
            prototype.push(' ');
            prototype.push_str(&space_before_stars(more.trim_start()));
        }
        // Functions that a Rust file imports are not part of the header.
        if !prototype.starts_with("extern ") {
            if !out.is_empty() {
                out.push(String::new());
            }
            out.append(&mut item);
            out.extend(fill(&prototype));
        }
        item.clear();
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

/// The prototype in lines that continue under the first argument.
fn fill(prototype: &str) -> Vec<String> {
    if prototype.len() <= WIDTH {
        return vec![prototype.to_owned()];
    }
    let indent = prototype.find('(').map_or(8, |at| at + 1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for (n, part) in arguments(prototype).into_iter().enumerate() {
        if n > 0 && line.len() + 1 + part.len() > WIDTH {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
        } else if n > 0 {
            line.push(' ');
        }
        line.push_str(part);
    }
    lines.push(line);
    lines
}

/// Cuts behind the commas between arguments (not inside the argument list of a function pointer).
fn arguments(prototype: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, c) in prototype.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 1 => {
                parts.push(prototype[from..=at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(prototype[from..].trim());
    parts
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
    fn imported_functions_do_not_reach_the_header() {
        let text = "/**\n * Not ours.\n */\nextern int g(int a,\n             int b);\n\nint f(void);";
        assert_eq!(tidy(text), "int f(void);");
    }

    #[test]
    fn unnamed_pointer_arguments_are_spaced_like_named_ones() {
        assert_eq!(tidy("void f(int (*cb)(void*, char**));"), "void f(int (*cb)(void *, char **));");
    }

    #[test]
    fn arguments_share_lines_as_far_as_they_fit() {
        let text = "int32_t qb_some_function(struct qb_thing *thing,\n    int (*cb)(int, int),\n    uint32_t some_more,\n    int last);";
        let want = "int32_t qb_some_function(struct qb_thing *thing, int (*cb)(int, int),\n                         uint32_t some_more, int last);";
        assert_eq!(tidy(text), want);
        assert_eq!(tidy("int f(int a,\n      int b);"), "int f(int a, int b);");
    }
}
