# SPDX-License-Identifier: Apache-2.0
"""clang-tidy over every source, and no second time over what has not changed.

A source takes seconds, all of them the better part of an hour. So what passed is remembered: by a hash
of clang-tidy's version, its settings, the command that compiles the source, and every file
that it includes. A source that did not pass is not remembered.
"""

import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import shlex
import subprocess

import console

_TIDY = "clang-tidy-19"
_SETTINGS = console.ROOT / ".clang-tidy"
_PASSED = console.ROOT / "build" / "lint"


def check(folder, step):
    """Checks what `folder` compiles. Raises console.Failure with what was found."""
    sources = _sources(folder)
    commands = console.ROOT / "build" / "lint" / "compile_commands.json"
    _PASSED.mkdir(parents=True, exist_ok=True)
    # clang-tidy looks at a source once for each command: programs that share one would have it
    # looked at once for each of them.
    commands.write_text(json.dumps(list(sources.values())))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        findings = [text for text in pool.map(_check, sources.values()) if text]
    step.write("\n".join(findings))
    if findings:
        raise console.Failure(
            "\n".join(findings) + f"\nclang-tidy objects to {len(findings)} of {len(sources)} sources"
        )


def _sources(folder):
    """Returns the project's own sources, by path, each with one of its compile commands."""
    entries = json.loads((folder / "compile_commands.json").read_text())
    sources = {}
    for entry in entries:
        path = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        # What the build generates is left to who generates it.
        if not path.is_relative_to(console.ROOT / "build"):
            sources.setdefault(path, entry)
    return sources


def _check(entry):
    """Returns what clang-tidy says of one source: nothing where it is, or was, content."""
    stamp = _PASSED / _key(entry)
    if stamp.exists():
        return ""
    path = pathlib.Path(entry["directory"]) / entry["file"]
    run = subprocess.run(
        [_TIDY, "-quiet", "-p", _PASSED, path.resolve()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=console.ROOT,
        text=True,
        check=False,
    )
    if run.returncode == 0:
        stamp.touch()
        return ""
    # Standard error counts the warnings of system headers: of interest where there is nothing else.
    return run.stdout.strip() or run.stderr.strip()


def _key(entry):
    """Returns what the verdict on a source depends on, as a file's name."""
    command = shlex.split(entry["command"])
    hash_ = hashlib.sha256(repr((_version(), _digest(_SETTINGS), command)).encode())
    included = subprocess.run(
        [*command, "-M", "-MF", "-"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=entry["directory"],
        text=True,
        check=False,
    ).stdout
    # A makefile's rule: "target: file file \".
    for name in included.replace("\\\n", " ").partition(": ")[2].split():
        hash_.update(f"{name} {_digest(pathlib.Path(entry['directory']) / name)}\n".encode())
    return hash_.hexdigest()


@functools.cache
def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def _version():
    return subprocess.run([_TIDY, "--version"], stdout=subprocess.PIPE, check=True).stdout
