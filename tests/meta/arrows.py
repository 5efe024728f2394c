# SPDX-License-Identifier: Apache-2.0
"""Proves from the #include lines which part of the project knows which.

Usage: arrows.py ROOT PUBLIC_HEADER...
"""

import pathlib
import re
import sys

import tap
import tree

# What each part may include besides itself; `public` stands for the headers that
# are installed. The longest entry that matches a file's path is its part.
_ENGINE = ("resmgr/base", "resmgr/abi", "resmgr/trace", "resmgr/lock")
_TABLES = (*_ENGINE, "resmgr/registry", "resmgr/budget")
_LIBRARY = (*_TABLES, "resmgr/pool", "resmgr/client")
ARROWS = {
    "resmgr/base": (),
    "resmgr/abi": _ENGINE[:1],
    "resmgr/trace": _ENGINE[:2],
    "resmgr/lock": _ENGINE[:3],
    "resmgr/registry": _ENGINE,
    "resmgr/budget": _ENGINE,
    "resmgr/pool": _TABLES,
    "resmgr/client": (*_TABLES, "resmgr/pool"),
    "resmgr/daemon": (*_TABLES, "resmgr/pool"),
    "hal": ("hal/include", *_LIBRARY),
    "hal/include": ("public",),
    "hal/examples": ("public",),
    "drivers/dma": ("public",),
    "drivers/timer": ("public",),
    "drivers/gpu": ("public",),
    "bpf": ("resmgr/abi",),
    "tools": ("public", "drivers", *_LIBRARY),
    # Reads the configuration that resmgrd reads, and knows processes as it does.
    "tools/resmgrctl": ("public", *_LIBRARY, "resmgr/daemon"),
    "tests": ("public", "hal", "drivers", "tools", "resmgr"),
}

_INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)
_BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)

# Meson makes this header from version.hpp.in.
_GENERATED = ".in"


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    public = {str(pathlib.Path(path).resolve().relative_to(root)) for path in sys.argv[2:]}
    report = tap.Report()
    graph, unresolved = include_graph(root)
    report.case("includes are found from the project's root", unresolved)
    report.case("each part includes only what its arrows allow", wrong_arrows(graph, public))
    report.case("each public header is installed", not_installed(root, public))
    report.case("no source file is included", included_sources(graph))
    report.case("headers include each other without a circle", circles(graph))
    report.case("folders include each other without a circle", circles(folder_graph(graph)))
    self_test(report)
    return report.finish()


def include_graph(root):
    """Returns ({file: files it includes}, problems), for the project's own files."""
    graph, problems = {}, []
    for path in tree.code(root):
        edges = graph.setdefault(str(path), set())
        for quoted, angled in _INCLUDE.findall(_BLOCK_COMMENT.sub("", (root / path).read_text())):
            target = _resolve(root, quoted or angled)
            if target is not None:
                edges.add(target)
            elif quoted:
                problems.append(f'{path}: "{quoted}" is not in the tree')
    return graph, problems


def _resolve(root, name):
    for candidate in (name, f"hal/include/{name}"):
        if candidate.split("/")[0] in tree.PARTS:
            if (root / candidate).is_file() or (root / (candidate + _GENERATED)).is_file():
                return candidate
    return None


def part_of(path):
    """Returns the entry of ARROWS that a file falls under, or None."""
    owners = [part for part in ARROWS if path.startswith(part + "/")]
    return max(owners, key=len, default=None)


def wrong_arrows(graph, public):
    problems = []
    for source, targets in sorted(graph.items()):
        part = part_of(source)
        if part is None:
            problems.append(f"{source}: its folder has no arrows; add it to the table")
            continue
        problems += [
            f"{source} ({part}) must not include {target}"
            for target in sorted(targets)
            if not _allowed(part, target, public)
        ]
    return problems


def _allowed(part, target, public):
    if "public" in ARROWS[part] and (target in public or target.startswith("hal/include/")):
        return True
    return part_of(target) == part or target.startswith(
        tuple(other + "/" for other in ARROWS[part])
    )


def not_installed(root, public):
    headers = [str(path) for path in tree.code(root, tree.HEADERS)]
    return [
        f"{path} is not installed"
        for path in headers
        if path.startswith("hal/include/") and path not in public
    ]


def included_sources(graph):
    return [
        f"{source} includes {target}"
        for source, targets in sorted(graph.items())
        for target in sorted(targets)
        if target.endswith((".c", ".cpp"))
    ]


def folder_graph(graph):
    """Folds a graph of files into one of the folders they are in, tests left out."""
    folders = {}
    for source, targets in graph.items():
        home = source.rpartition("/")[0]
        if home.startswith("tests"):
            continue
        edges = folders.setdefault(home, set())
        edges |= {target.rpartition("/")[0] for target in targets} - {home}
    return folders


def circles(graph):
    """Returns one line for each circle that a walk along the edges closes."""
    found, done = [], set()

    def walk(node, path):
        if node in path:
            found.append(" -> ".join([*path[path.index(node) :], node]))
            return
        if node in done:
            return
        for target in sorted(graph.get(node, ())):
            walk(target, [*path, node])
        done.add(node)

    for node in sorted(graph):
        walk(node, [])
    return found


def self_test(report):
    """Plants each fault in a tree of its own and sees it found."""
    header = "#pragma once\n"
    faults = {
        "an include against the arrows": {
            "resmgr/lock/word.hpp": header + '#include "resmgr/registry/names.hpp"\n',
            "resmgr/registry/names.hpp": header,
        },
        "a driver that includes another": {
            "drivers/dma/a.cpp": '#include "drivers/gpu/b.hpp"\n',
            "drivers/gpu/b.hpp": header,
        },
        "a driver that includes the engine": {
            "drivers/dma/a.cpp": '#include "resmgr/lock/word.hpp"\n',
            "resmgr/lock/word.hpp": header,
        },
        "a public header that includes an internal one": {
            "hal/include/hal/a.hpp": header + '#include "hal/src/b.hpp"\n',
            "hal/src/b.hpp": header,
        },
        "a folder without arrows": {"resmgr/other/a.cpp": "int a;\n"},
    }
    for fault, content in faults.items():
        with tree.planted(content) as folder:
            graph, _ = include_graph(pathlib.Path(folder))
            report.case(f"finds {fault}", _unless(wrong_arrows(graph, set())))
    with tree.planted({"resmgr/base/a.cpp": '#include "a.hpp"\n'}) as folder:
        _, unresolved = include_graph(pathlib.Path(folder))
        report.case("finds an include that is not from the root", _unless(unresolved))
    circle = {"a.hpp": {"b.hpp"}, "b.hpp": {"c.hpp"}, "c.hpp": {"a.hpp"}}
    report.case("finds a circle", _unless(circles(circle)))
    folders = folder_graph({"hal/a/x.hpp": {"hal/b/y.hpp"}, "hal/b/z.hpp": {"hal/a/w.hpp"}})
    report.case("finds a circle of folders", _unless(circles(folders)))


def _unless(problems):
    return [] if problems else ["it was not found"]


if __name__ == "__main__":
    sys.exit(main())
