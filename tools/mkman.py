#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the manual pages of section 3 from the comments of the public headers: mkman.py HEADER_DIR OUT_DIR VERSION

One page per function, and an overview page per header (its @file comment and what it declares).
"""
import pathlib
import re
import sys

COMMENT = re.compile(r"/\*\*(?!\*)(.*?)\*/\s*(.*?)(?=/\*|\Z)", re.S)
PROTOTYPE = re.compile(r"^((?:const |struct |enum |unsigned )*\w+[\s*]+(\w+)\((?:[^()]|\([^()]*\))*\))[^;{]*;", re.S)


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
        match = re.match(r"@(note|warning|see|sa)\s+(.*)", line)
        if match:
            blocks.append(("text", [match[2]]))
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
        elif kind == "item":
            out += [".IP \\(bu 2", inline(" ".join(lines), own)]
        else:
            out += [".PP", inline(" ".join(lines), own)]
    return out


def first_sentence(blocks, name):
    text = next((" ".join(lines) for kind, lines in blocks if kind == "text"), name)
    sentence = re.split(r"[.;:](?:\s|$)", text, maxsplit=1)[0]
    sentence = re.sub(r"@[apc] ", "", sentence)
    return escape(sentence[:1].lower() + sentence[1:] if not sentence[:2].isupper() else sentence)


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


def write_page(out, header, version, prototype, name, comment):
    blocks, params, result = parse(comment)
    page = head(name, version)
    page += [".SH NAME", f"{name} \\- {first_sentence(blocks, name)}"]
    page += [".SH SYNOPSIS", ".nf", f"\\fB#include <qb/{header}>\\fP", ".sp"] + fold(prototype) + [".fi"]
    page += [".SH DESCRIPTION"] + body(blocks, name)[1:]
    if params:
        page.append(".SH PARAMETERS")
        for param, text in params:
            page += [".TP", f"\\fI{param}\\fP", inline(" ".join(text).strip(), name) or "\\&"]
    page += [".SH RETURN VALUE", inline(result, name) if result else "None."]
    page += [".SH SEE ALSO", f"\\fB{header}\\fP(3)"]
    (out / f"{name}.3").write_text("\n".join(page) + "\n")


def write_overview(out, header, version, comment, functions):
    blocks, _, _ = parse(comment)
    page = head(header, version)
    page += [".SH NAME", f"{header} \\- {first_sentence(blocks, header)}"]
    page += [".SH SYNOPSIS", f"\\fB#include <qb/{header}>\\fP"]
    page += [".SH DESCRIPTION"] + body(blocks)[1:]
    if functions:
        page.append(".SH FUNCTIONS")
        for name, comment_of in functions:
            page += [".TP", f"\\fB{name}\\fP(3)", first_sentence(parse(comment_of)[0], name)]
    (out / f"{header}.3").write_text("\n".join(page) + "\n")


def main():
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} HEADER_DIR OUT_DIR VERSION")
    out = pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    pages = 0
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.h")):
        overview, functions = [path.name], []
        for match in COMMENT.finditer(path.read_text()):
            comment, code = strip(match[1]), match[2].lstrip()
            if comment and comment[0].startswith("@file"):
                overview = comment
                continue
            code = re.sub(r"^(?:extern|static inline|QB_GNUC_\w+)\s+", "", code)
            found = PROTOTYPE.match(code)
            if found and not code.startswith(("typedef", "static", "return")):
                functions.append((found[2], comment))
                write_page(out, path.name, sys.argv[3], found[1], found[2], comment)
        write_overview(out, path.name, sys.argv[3], overview, functions)
        pages += len(functions) + 1
    print(f"{pages} manual pages in {out}")


if __name__ == "__main__":
    main()
