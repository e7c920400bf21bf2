#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the manual pages of section 3 from the comments of the public headers: mkman.py HEADER_DIR OUT_DIR VERSION

One page per function, and an overview page per header (its @file comment and what it declares). What the @file comment
says with @note holds for every function of the header and is on each of their pages; its examples are on the pages of the
functions that they show. A parameter or result that no comment explains is an error.
"""
import pathlib
import re
import sys

COMMENT = re.compile(r"/\*\*(?!\*)(.*?)\*/\s*(.*?)(?=/\*|\Z)", re.S)
PROTOTYPE = re.compile(r"^((?:const |struct |enum |unsigned )*\w+[\s*]+(\w+)\((?:[^()]|\([^()]*\))*\))[^;{]*;", re.S)


# What an error number means where the comment gives no reason of its own.
ERRORS = {
    "EACCES": "The permissions do not allow it.",
    "EAGAIN": "It is not possible now; try again later.",
    "EBADF": "There is no such descriptor, handle or target.",
    "EBADMSG": "The shared data are damaged.",
    "EEXIST": "There is one already.",
    "EINVAL": "An argument is NULL or out of its range.",
    "EIO": "The input or output failed.",
    "EMSGSIZE": "The message is larger than agreed, or too short to have a header.",
    "ENAMETOOLONG": "The name is too long.",
    "ENOBUFS": "The buffer is too small.",
    "ENOENT": "There is no such thing.",
    "ENOMEM": "There is not enough memory.",
    "ENOSPC": "There is no room.",
    "ENOSYS": "This is not supported.",
    "ENOTCONN": "The peer is gone, or the connection has been closed.",
    "ERANGE": "A number is out of its range.",
    "ETIME": "The time is over.",
    "ETIMEDOUT": "Nothing came in time.",
}


def strip(comment):
    """The lines of a comment without their decoration."""
    lines = [re.sub(r"^\s*\*? ?", "", line).rstrip() for line in comment.strip("\n").split("\n")]
    return "\n".join(lines).strip().split("\n")


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def inline(text, own=""):
    """Words of prose: arguments in italics, functions as references."""
    text = escape(text)
    text = re.sub(r"@[ap] (\w+)", r"\\fI\1\\fP", text)
    text = re.sub(r"@c (\S+)", r"\\fB\1\\fP", text)
    return re.sub(r"\b(qb_\w+)\(\)", lambda m: f"\\fB{m[1]}\\fP()" if m[1] == own else f"\\fB{m[1]}\\fP(3)", text)


def parse(lines):
    """Splits a comment into (description blocks, [(param, text)], return text). A block is (kind, lines)."""
    blocks, params, result, target = [], [], [], None
    code = False
    for line in lines:
        if code:
            if line.strip() == "@endcode":
                code = False
            else:
                blocks[-1][1].append(line)
            continue
        if line.strip() == "@code":
            blocks.append(("code", []))
            code, target = True, None
            continue
        match = re.match(r"@param(?:\[\w+\])?\s+(\w+)\s*(.*)", line)
        if match:
            params.append([match[1], [match[2]]])
            target = params[-1][1]
            continue
        match = re.match(r"@returns?\s*(.*)", line)
        if match:
            result.append(match[1])
            target = result
            continue
        match = re.match(r"@par\s+(.*)", line)
        if match:
            blocks.append(("title", [match[1]]))
            target = None
            continue
        match = re.match(r"@(note|warning|see|sa)\s+(.*)", line)
        if match:
            blocks.append(("note" if match[1] in ("note", "warning") else "text", [match[2]]))
            target = blocks[-1][1]
            continue
        if re.match(r"@(file|brief)\b", line):
            line = re.sub(r"^@brief\s*|^@file\s*\S*\s*", "", line)
            if not line:
                continue
        if not line.strip():
            target = None
            continue
        if target is not None:
            target.append(line.strip())
        elif re.match(r"\s*[-*] ", line):
            blocks.append(("item", [re.sub(r"^\s*[-*] ", "", line)]))
            target = blocks[-1][1]
        else:
            blocks.append(("text", [line.strip()]))
            target = blocks[-1][1]
    return blocks, params, " ".join(result)


def body(blocks, own=""):
    out = []
    for kind, lines in blocks:
        if kind == "code":
            out += [".PP", ".in +4n", ".nf"] + [escape(line) for line in lines] + [".fi", ".in"]
        elif kind == "title":
            out += [".SS " + inline(lines[0])]
        elif kind == "item":
            out += [".IP \\(bu 2", inline(" ".join(lines), own)]
        else:
            out += [".PP", inline(" ".join(lines), own)]
    return out


def first_sentence(blocks, name, plain=False):
    text = next((" ".join(lines) for kind, lines in blocks if kind == "text"), name)
    sentence = re.split(r"[.;:](?:\s|$)", text, maxsplit=1)[0]
    sentence = re.sub(r"@[apc] ", "", sentence)
    text = sentence[:1].lower() + sentence[1:] if not sentence[:2].isupper() else sentence
    return text if plain else escape(text)


def head(title, version):
    return ['.\\" SPDX-License-Identifier: LGPL-2.1-or-later', f'.TH {title} 3 "" "libqb {version}" "libqb"']


def fold(prototype):
    """A long prototype over several lines, without font changes inside."""
    flat = re.sub(r"\s+", " ", prototype).strip()
    if len(flat) < 70:
        return [f"\\fB{escape(flat)};\\fP"]
    start, arguments = flat.split("(", 1)
    parts, depth, part = [], 0, ""
    for char in arguments:
        depth += (char == "(") - (char == ")")
        part += char
        if char == "," and depth == 0:
            parts.append(part.strip())
            part = ""
    parts.append(part.strip() + ";")
    return [f"\\fB{escape(start)}(\\fP"] + [f"\\fB    {escape(p)}\\fP" for p in parts]


def errors(result):
    """[(errno, reason)] of the text of a @return."""
    found = {}
    for match in re.finditer(r"-?\b(E[A-Z]{3,})\b(?:\s*\(([^()]*)\)|:\s+([^;]*))?((?:\s+(?:when|if|for|with|without|beyond)\b)[^;,.]*)?", result):
        name, reason = match[1], match[2] or match[3] or (match[4] or "").strip()
        if name in ERRORS or reason:
            found.setdefault(name, []).append(sentence(reason) if reason else "")
    return [(name, " ".join(filter(None, reasons)) or ERRORS.get(name, "")) for name, reasons in found.items()]


def sentence(text):
    text = text.strip()
    text = text if text.startswith("qb_") else text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."


def parameters(prototype):
    """Names of the parameters of a prototype."""
    inside = prototype[prototype.index("(") + 1 : -1]
    inside = re.sub(r"\(\*\s*(\w+)\)\s*\([^()]*\)", r" \1", inside)
    names = [re.search(r"(\w+)(?:\[\w*\])?\s*$", part) for part in inside.split(",")]
    return [n[1] for n in names if n and n[1] != "void"]


def check(name, prototype, params, result):
    """What the comment of a function leaves out."""
    described = {param for param, text in params if " ".join(text).strip()}
    missing = [f"{name}: parameter {p}" for p in parameters(prototype) if p not in described]
    if not re.match(r"void\s+\w", prototype) and not result:
        missing.append(f"{name}: result")
    return missing


def relatives(name, comment, functions):
    """Functions that a comment mentions, and those whose names are longer or shorter forms of this one."""
    mentioned = re.findall(r"\b(qb_\w+)\(\)", "\n".join(comment))
    family = [f for f in functions if f.startswith(name) or (name.startswith(f) and f.count("_") > 1)]
    word = name.rsplit("_", 1)[0]
    if word.count("_") > 1:
        family += [f for f in functions if f.rsplit("_", 1)[0] == word]
    return [f for f in dict.fromkeys(mentioned + family) if f != name and f in functions]


def write_page(out, header, version, function, everything, overview):
    name, prototype, comment = function
    blocks, params, result = parse(comment)
    notes = [b for b in blocks + overview if b[0] == "note"]
    examples = [b for b in overview if b[0] == "code" and re.search(rf"\b{name}\(", "\n".join(b[1]))]
    page = head(name, version)
    page += [".SH NAME", f"{name} \\- {first_sentence(blocks, name)}"]
    page += [".SH SYNOPSIS", ".nf", f"\\fB#include <qb/{header}>\\fP", ".sp"] + fold(prototype) + [".fi"]
    page += [".SH DESCRIPTION"] + body([b for b in blocks if b[0] != "note"], name)[1:]
    if params:
        page.append(".SH PARAMETERS")
        for param, text in params:
            page += [".TP", f"\\fI{param}\\fP", inline(" ".join(text).strip(), name)]
    page += [".SH RETURN VALUE", inline(sentence(result), name) if result else "None."]
    reasons = errors(result)
    if reasons:
        page.append(".SH ERRORS")
        for errno, reason in reasons:
            page += [".TP", f"\\fB{errno}\\fP", inline(reason, name)]
    if notes:
        page += [".SH NOTES"] + body(notes, name)[1:]
    if examples:
        page += [".SH EXAMPLE"] + body(examples, name)[1:]
    others = [f"\\fB{escape(f)}\\fP(3)" for f in [header] + relatives(name, comment, everything)]
    page += [".SH SEE ALSO", ", ".join(others)]
    (out / f"{name}.3").write_text("\n".join(page) + "\n")
    return check(name, prototype, params, result)


def write_overview(out, header, version, blocks, functions, others):
    page = head(header, version)
    page += [".SH NAME", f"{header} \\- {first_sentence(blocks, header)}"]
    page += [".SH SYNOPSIS", f"\\fB#include <qb/{header}>\\fP"]
    page += [".SH DESCRIPTION"] + body([b for b in blocks if b[0] != "note"])[1:]
    if functions:
        page.append(".SH FUNCTIONS")
        for name, _, comment in functions:
            page += [".TP", f"\\fB{name}\\fP(3)", inline(first_sentence(parse(comment)[0], name, plain=True))]
    if others:
        page.append(".SH TYPES, CONSTANTS AND MACROS")
        for name, comment in others:
            page += [".TP", f"\\fB{escape(name)}\\fP"] + (body(parse(comment)[0])[1:] or ["\\&"])
    notes = [b for b in blocks if b[0] == "note"]
    if notes:
        page += [".SH NOTES"] + body(notes)[1:]
    page += [".SH SEE ALSO", "\\fBqb\\-blackbox\\fP(8)" if header == "qblog.h" else "\\fBqbutil.h\\fP(3)"]
    (out / f"{header}.3").write_text("\n".join(page) + "\n")


def other_name(code):
    """The name of a macro, type or inline function that a comment is about."""
    for pattern in (
        r"#\s*define\s+(\w+(?:\([^()]*\))?)",
        r"typedef\s+(?:[^;{]*\(\*\s*)(\w+)\)",
        r"typedef\s+[^;{]*?(\w+)\s*;",
        r"typedef\s+enum\s*\w*\s*{[^}]*}\s*(\w+)",
        r"((?:struct|enum|union)\s+\w+)\s*{",
        r"extern\s+[^;(]*?(\w+)\s*(?:\[\])?;",
        r"static inline\s+[^(]*?(\w+)\(",
    ):
        found = re.match(pattern, code)
        if found:
            return found[1]
    return None


def main():
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} HEADER_DIR OUT_DIR VERSION")
    out, version = pathlib.Path(sys.argv[2]), sys.argv[3]
    out.mkdir(parents=True, exist_ok=True)
    pages, missing = 0, []
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.h")):
        overview, functions, others = [path.name], [], []
        for match in COMMENT.finditer(path.read_text()):
            comment, code = strip(match[1]), match[2].lstrip()
            if comment and comment[0].startswith("@file"):
                overview = comment
                continue
            bare = re.sub(r"^(?:extern|static inline|QB_GNUC_\w+)\s+", "", code)
            found = PROTOTYPE.match(bare)
            if found and not bare.startswith(("typedef", "static", "return")):
                functions.append((found[2], found[1], comment))
            elif other_name(code):
                others.append((other_name(code), comment))
        blocks, names = parse(overview)[0], [f[0] for f in functions]
        for function in functions:
            missing += write_page(out, path.name, version, function, names, blocks)
        write_overview(out, path.name, version, blocks, functions, others)
        pages += len(functions) + 1
    if missing:
        sys.exit("not explained in the comments: " + "; ".join(missing))
    print(f"{pages} manual pages in {out}")


if __name__ == "__main__":
    main()
