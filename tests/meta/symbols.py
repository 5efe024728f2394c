# SPDX-License-Identifier: Apache-2.0
"""Compares what libhal.so exports with what the installed headers declare, both ways.

Usage: symbols.py LIBRARY ROOT GENERATED_INCLUDE_DIR PUBLIC_HEADER...

clang reads the headers and names each function as the linker knows it. A
function declared there without a body must be in the library; a symbol of the
library must be declared there.
"""

import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import headers
import tap
import tree

_NAMESPACES = ("hal", "resmgr")
_FUNCTIONS = {
    "FunctionDecl",
    "CXXMethodDecl",
    "CXXConstructorDecl",
    "CXXDestructorDecl",
    "CXXConversionDecl",
}
_RECORDS = {"CXXRecordDecl", "ClassTemplateSpecializationDecl"}
# Their members are patterns, which the linker never sees.
_PATTERNS = {"ClassTemplateDecl", "FunctionTemplateDecl", "VarTemplateDecl"}

# What the compiler makes of a class or of a static variable in a function.
_DERIVED = re.compile(
    r"^(?:vtable for|VTT for|typeinfo for|typeinfo name for|guard variable for"
    r"|(?:non-)?virtual thunk to) "
)


@dataclasses.dataclass
class Declared:
    """Mangled names of functions and variables, and full names of classes."""

    seen: set = dataclasses.field(default_factory=set)
    with_body: set = dataclasses.field(default_factory=set)
    without_body: set = dataclasses.field(default_factory=set)
    classes: set = dataclasses.field(default_factory=set)

    @property
    def required(self):
        return self.without_body - self.with_body


def main():
    library = pathlib.Path(sys.argv[1])
    root, generated = (pathlib.Path(path).resolve() for path in sys.argv[2:4])
    public = [pathlib.Path(path).resolve() for path in sys.argv[4:]]
    report = tap.Report()
    clang = shutil.which("clang++-19")
    if clang is None:
        report.skip("exported symbols match the headers", "no clang++-19 on this machine")
        return report.finish()
    with tempfile.TemporaryDirectory() as folder:
        names = headers.stage(root, generated, public, pathlib.Path(folder))
        declared = declarations(clang, folder, names)
    exported = symbols(library)
    report.case("there is something to compare", [] if exported and declared.seen else ["no"])
    report.case("each function of the headers is exported", not_exported(exported, declared))
    report.case("each exported symbol is in the headers", not_declared(exported, declared))
    self_test(report, clang)
    return report.finish()


def symbols(library):
    """Returns the mangled names that a shared library defines for others."""
    lines = _output(["nm", "-D", "--defined-only", "--format=posix", library]).splitlines()
    # Type A is the name of the symbol version itself.
    entries = [line.split()[:2] for line in lines]
    return {name.partition("@")[0] for name, kind in entries if kind != "A"}


def declarations(clang, include, names):
    """Returns what the project's namespaces declare in the headers `names`."""
    unit = "".join(f"#include <{name}>\n" for name in names)
    declared = Declared()
    for namespace in _NAMESPACES:
        dump = subprocess.run(
            [clang, "-std=c++23", "-fsyntax-only", f"-I{include}", "-x", "c++", "-"]
            + ["-Xclang", "-ast-dump=json", "-Xclang", f"-ast-dump-filter={namespace}"],
            input=unit,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout
        for node in _objects(dump):
            # The filter is a substring: it also finds std's __half.
            if node["kind"] == "NamespaceDecl" and node.get("name") == namespace:
                _visit(node, "", declared)
    return declared


def _objects(text):
    """Yields the JSON objects that stand one after the other in `text`."""
    decoder = json.JSONDecoder()
    position = 0
    while (start := text.find("{", position)) >= 0:
        node, position = decoder.raw_decode(text, start)
        yield node


def _visit(node, scope, declared, instance=False):
    """Walks one declaration; `instance` says that it came out of a template."""
    kind = node.get("kind")
    name = node.get("name", "")
    if kind in _FUNCTIONS or kind == "VarDecl":
        _note(node, kind, declared, instance)
        return
    # A friend may well be a function of the engine that stays inside.
    if kind == "FriendDecl":
        return
    if kind in _RECORDS:
        declared.classes.add(f"{scope}{name}")
    if kind in _RECORDS or kind == "NamespaceDecl":
        scope = f"{scope}{name}::"
    pattern = kind in _PATTERNS
    for child in node.get("inner", ()):
        if not pattern or _is_instance(child):
            _visit(child, scope, declared, instance or pattern)


def _is_instance(node):
    return node["kind"] == "ClassTemplateSpecializationDecl" or (
        node["kind"] in _FUNCTIONS and "mangledName" in node and _has_body(node)
    )


def _has_body(node):
    return any(child.get("kind") == "CompoundStmt" for child in node.get("inner", ()))


def _note(node, kind, declared, instance):
    mangled = node.get("mangledName")
    if mangled is None:
        return
    declared.seen.add(mangled)
    defined_here = (
        instance
        or _has_body(node)
        or node.get("inline")
        or node.get("constexpr")
        or node.get("isImplicit")
        or node.get("pure")
        or node.get("explicitlyDeleted")
        or node.get("explicitlyDefaulted")
        or (kind == "VarDecl" and node.get("storageClass") != "static")
    )
    (declared.with_body if defined_here else declared.without_body).add(mangled)


def not_exported(exported, declared):
    present = set(_demangle(exported))
    return sorted(
        f"declared, not exported: {name}"
        for name in set(_demangle(declared.required))
        if name not in present
    )


def not_declared(exported, declared):
    # Constructors and destructors have several symbols; their text is the same.
    known = set(_demangle(declared.seen)) | declared.classes
    problems = []
    for name in _demangle(exported):
        if _DERIVED.sub("", name) not in known:
            problems.append(f"exported, not declared in an installed header: {name}")
    return sorted(problems)


def _demangle(names):
    if not names:
        return []
    return _output(["c++filt"], "\n".join(sorted(names))).splitlines()


def _output(command, text=None):
    return subprocess.run(
        command, input=text, stdout=subprocess.PIPE, check=True, text=True
    ).stdout


def self_test(report, clang):
    """Builds a library that keeps one promise, breaks one, and leaks one symbol."""
    header = """#pragma once
#define MARK [[gnu::visibility("default")]]
namespace hal {
MARK int kept();
MARK int broken();
class MARK Both {
 public:
  Both();
  int inside() const { return 1; }
};
}
"""
    source = """#include <hal/a.hpp>
namespace hal {
int kept() { return 1; }
MARK int leaked() { return Both().inside(); }
Both::Both() {}
}
"""
    content = {"include/hal/a.hpp": header, "a.cpp": source}
    with tree.planted(content) as name:
        folder = pathlib.Path(name)
        library = folder / "liba.so"
        flags = ["-std=c++23", "-shared", "-fPIC", "-fvisibility=hidden", f"-I{folder}/include"]
        subprocess.run(["g++", *flags, folder / "a.cpp", "-o", library], check=True)
        declared = declarations(clang, folder / "include", ["hal/a.hpp"])
        exported = symbols(library)
        for fault, found, expected in (
            ("a promise not kept", not_exported(exported, declared), "hal::broken()"),
            ("a leaked symbol", not_declared(exported, declared), "hal::leaked()"),
        ):
            exact = len(found) == 1 and found[0].endswith(": " + expected)
            report.case(f"finds {fault}, and only that", [] if exact else [f"found: {found}"])


if __name__ == "__main__":
    sys.exit(main())
