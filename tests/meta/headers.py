# SPDX-License-Identifier: Apache-2.0
"""Compiles each header alone: one translation unit that includes it, twice.

Usage: headers.py ROOT GENERATED_INCLUDE_DIR PUBLIC_HEADER...

Installed headers see only each other, as they will in another project, and are
compiled by g++ and by clang. All others see the whole tree; g++ suffices. One
that a source includes before all else was compiled alone with that source; then
its guard is all that is looked for.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import tap
import tree

_WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror")
_CPP = ("-std=c++23", "-x", "c++")
_C = ("-std=c11", "-D_GNU_SOURCE", "-x", "c")

_FIRST_INCLUDE = re.compile(r'^#include [<"]([^">]+)[">]', re.MULTILINE)

# The names by which a set-up may know a clang that has C++23.
_CLANGS = ("clang++-19", "clang++")


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    generated = pathlib.Path(sys.argv[2]).resolve()
    public = [pathlib.Path(path).resolve() for path in sys.argv[3:]]
    report = tap.Report()
    clang = next(filter(None, map(shutil.which, _CLANGS)), None)

    with tempfile.TemporaryDirectory() as folder:
        installed = pathlib.Path(folder)
        names = stage(root, generated, public, installed)
        jobs = [(f"g++: <{name}>", "g++", _CPP, name, [installed]) for name in names]
        if clang is None:
            report.skip("clang: installed headers", "no clang++ on this machine")
        else:
            jobs += [(f"clang: <{name}>", clang, _CPP, name, [installed]) for name in names]
        jobs += internal_jobs(root, generated, public)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(lambda job: compile_alone(*job[1:]), jobs)
            for job, problems in zip(jobs, results):
                report.case(job[0], problems)
    self_test(report)
    return report.finish()


def stage(root, generated, public, destination):
    """Lays the installed headers out as `meson install` would. Returns their names."""
    names = []
    sources = [(path, path.relative_to(root)) for path in public]
    sources += [(path, path.relative_to(generated)) for path in generated.rglob("*.hpp")]
    for source, relative in sources:
        text = str(relative).removeprefix("hal/include/")
        target = destination / text
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        names.append(text)
    return sorted(names)


def internal_jobs(root, generated, public):
    """Returns a job for each header that is not installed; C headers get two."""
    include = [root, root / "hal" / "include", generated]
    first = first_included(root)
    jobs = []
    for path in tree.code(root, tree.HEADERS):
        if root / path in public or path.parts[0] == "bpf":
            continue
        if str(path) in first and "#pragma once\n" in (root / path).read_text(encoding="utf-8"):
            continue
        jobs.append((f"g++: {path}", "g++", _CPP, str(path), include))
        if path.suffix == ".h":
            jobs.append((f"gcc: {path}", "gcc", _C, str(path), include))
    return jobs


def first_included(root):
    """Returns the headers that a source which every build compiles includes before all else."""
    found = set()
    for path in tree.code(root, (".cpp",)):
        # Fuzz targets are compiled where they are asked for.
        if path.parts[:2] == ("tests", "fuzz"):
            continue
        include = _FIRST_INCLUDE.search((root / path).read_text(encoding="utf-8"))
        if include:
            found.add(include[1])
    return found


def compile_alone(compiler, language, header, include):
    """Returns what the compiler says of a unit that includes `header` twice."""
    line = f'#include "{header}"\n'
    folders = [f"-I{folder}" for folder in include]
    run = subprocess.run(
        [compiler, "-fsyntax-only", *_WARNINGS, *folders, *language, "-"],
        input=line + line,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return [run.stdout or f"exit status {run.returncode}"] if run.returncode else []


def self_test(report):
    faults = {
        "a header that leans on another": "#pragma once\nstd::string name();\n",
        "a header without a guard": "struct Twice {};\n",
        "a header that warns": "#pragma once\ninline int f(long v) { return v; }\n",
    }
    for fault, text in faults.items():
        with tree.planted({"a.hpp": text}) as folder:
            found = compile_alone("g++", _CPP, "a.hpp", [folder])
            report.case(f"finds {fault}", [] if found else ["it was not found"])


if __name__ == "__main__":
    sys.exit(main())
