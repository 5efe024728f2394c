# SPDX-License-Identifier: Apache-2.0
"""Checks the shape of the tree: sizes, licence lines, the closed top level, one version.

Usage: shape.py ROOT VERSION
"""

import pathlib
import re
import sys

import tap
import tree

MAX_LINES = 500

# The top level is closed; names that start with a dot are free.
TOP_LEVEL = {
    *tree.PARTS,
    "LICENSE",
    "README.md",
    "meson.build",
    "meson_options.txt",
}
# What a build leaves there, which .gitignore names.
_LEFT_BY_BUILDS = {"build", "compile_commands.json"}

# Files that can't carry a comment, or are the licence.
_NO_SPDX = {"LICENSE"}
_NO_SPDX_SUFFIXES = {".json", ".png", ".svg", ".bin"}

# Homes and work folders of one machine; split so as not to find itself.
_MACHINE_PATH = re.compile(r"(?<![\w./])/(?:ho" r"me|ro" r"ot|wo" r"rk|Us" r"ers)/\w")

_UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    report = tap.Report()
    report.case("the top level holds what belongs there", top_level(root))
    texts = read(root)
    report.case("there are files to check", [] if texts else ["none was found"])
    report.case(f"no source is over {MAX_LINES} lines", too_long(texts))
    report.case("each file names its licence", without_licence(texts))
    report.case("each header is guarded", without_guard(texts))
    report.case("no file names a place on one machine", matches(texts, _MACHINE_PATH))
    report.case("no file is marked as unfinished", matches(texts, _UNFINISHED))
    report.case("the version stands in one place", versions(texts, sys.argv[2]))
    self_test(report)
    return report.finish()


def read(root):
    """Returns {path: lines} of the text files of the tree."""
    texts = {}
    for path in tree.files(root):
        if path.parts[0] in _LEFT_BY_BUILDS:
            continue
        try:
            texts[path] = (root / path).read_text().splitlines()
        except UnicodeDecodeError:
            continue
    return texts


def top_level(root):
    present = {
        path.name
        for path in root.iterdir()
        if not path.name.startswith(".") and not (path.is_dir() and tree.is_foreign(path))
    }
    extra = [f"does not belong there: {name}" for name in present - TOP_LEVEL - _LEFT_BY_BUILDS]
    return sorted(extra) + [f"is missing: {name}" for name in sorted(TOP_LEVEL - present)]


def too_long(texts):
    return [
        f"{path}: {len(lines)} lines"
        for path, lines in texts.items()
        if path.name not in _NO_SPDX and len(lines) > MAX_LINES
    ]


def without_licence(texts):
    return [
        str(path)
        for path, lines in texts.items()
        if path.name not in _NO_SPDX
        and path.suffix not in _NO_SPDX_SUFFIXES
        and not any("SPDX-License-Identifier: " in line for line in lines[:3])
    ]


def without_guard(texts):
    # A C header may be meant for compilers without the pragma.
    guards = {".hpp": ("#pragma once",), ".h": ("#pragma once", "#ifndef ")}
    return [
        str(path)
        for path, lines in texts.items()
        if path.suffix in guards and not any(line.startswith(guards[path.suffix]) for line in lines)
    ]


def matches(texts, pattern):
    return [
        f"{path}:{number}: {line.strip()}"
        for path, lines in texts.items()
        for number, line in enumerate(lines, 1)
        if path.name not in _NO_SPDX and pattern.search(line)
    ]


def versions(texts, version):
    whole = re.compile(rf"(?<![\d.]){re.escape(version)}(?![\d.])")
    found = matches(texts, whole)
    if len(found) == 1 and found[0].startswith("meson.build:"):
        return []
    return found or [f"{version} is nowhere"]


def self_test(report):
    good = ["// SPDX-License-Identifier: Apache-2.0", "#pragma once"]
    path = pathlib.Path("hal/a.hpp")

    def expect(fault, check, lines, *arguments):
        clean = check({path: good}, *arguments)
        found = check({path: lines}, *arguments)
        problems = [] if found and not clean else [f"clean: {clean}, planted: {found}"]
        report.case(f"finds {fault}", problems)

    expect("a long file", too_long, good * MAX_LINES)
    expect("a file without a licence", without_licence, good[1:])
    expect("a header without a guard", without_guard, good[:1])
    expect("a machine's path", matches, [*good, 'open("/ho' 'me/me/x")'], _MACHINE_PATH)
    expect("a mark of unfinished work", matches, [*good, "// TO" "DO: more"], _UNFINISHED)
    twice = {pathlib.Path("meson.build"): ["version: '1.2.3'"], path: ['"1.2.3"']}
    report.case("finds a second version", [] if versions(twice, "1.2.3") else ["not found"])
    with tree.planted({name + "/x": "" for name in TOP_LEVEL | {"extra"}}) as folder:
        found = top_level(pathlib.Path(folder))
        exact = found == ["does not belong there: extra"]
        report.case("finds a stray entry at the top", [] if exact else [f"found: {found}"])


if __name__ == "__main__":
    sys.exit(main())
