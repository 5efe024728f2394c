# SPDX-License-Identifier: Apache-2.0
"""Builds an engine that has every planted bug, and demands that a test notices each.

Usage: planted_bugs.py SOURCE BUILD [NAME ...]; without names all bugs of the
headers called planted_bug.hpp, and none at all, which must pass. The environment of
a run says which bug is there. A program that does not end in its time has
noticed. Output is TAP, and a table in comments.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

# Cheapest first: one that fails is enough.
POOL_PROGRAMS = [
    "tests/test-pool",
    "tests/test-pool-kill",
]
LOCK_PROGRAMS = [
    "tests/test-lock",
    "tests/test-lock-kill",
    "tests/lock/test-lock-deadlocks",
    "tests/test-lock-races",
    "tests/test-lock-conservation",
    "tests/test-lock-allocation",
]
PROGRAMS = {"lock": LOCK_PROGRAMS, "pool": POOL_PROGRAMS}
OPTIONS = [
    "-Dbuildtype=debugoptimized",
    "-Ddebug=false",
    "-Dtests=enabled",
    "-Dtools=disabled",
    "-Dbenchmarks=disabled",
    "-Dplanted_bugs=true",
]
# So many times what a program takes without a bug is a hang, and never less than that many seconds.
LIMIT_TIMES = 10
LEAST_LIMIT_SECONDS = 20
# Without a bug: whatever that takes.
FIRST_LIMIT_SECONDS = 600
# A race that a bug opens is not met in every run.
ATTEMPTS = 3


def bugs_of(source):
    """Returns {bug: programs that have to notice it}."""
    bugs = {}
    for part, programs in PROGRAMS.items():
        header = source / "resmgr" / part / "planted_bug.hpp"
        for name in re.findall(r'kName == "(\w+)"', header.read_text(encoding="utf-8")):
            bugs[name] = programs
    return bugs


def build(source, folder):
    """Configures and builds the programs. Returns what went wrong, or None."""
    if folder.exists():
        shutil.rmtree(folder)
    commands = [
        ["meson", "setup", folder, source, *OPTIONS],
        ["ninja", "-C", folder, *LOCK_PROGRAMS, *POOL_PROGRAMS],
    ]
    for command in commands:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            return done.stdout[-2000:]
    return None


def run(program, bug, seed, limit):
    """Returns how the program failed with that bug, or None if it passed."""
    environment = {**os.environ, "RESMGR_PLANTED_BUG": bug, "RESMGR_SEED": str(seed)}
    # A session of its own: whatever it started ends with it.
    with subprocess.Popen(
        [program, "--gtest_brief=1", "--gtest_fail_fast"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return "hangs"
    if process.returncode == 0:
        return None
    if process.returncode < 0:
        return signal.Signals(-process.returncode).name
    failed = re.search(r"^\[  FAILED  \] (\S+)", output, re.MULTILINE)
    return failed.group(1).rstrip(",") if failed else f"exit {process.returncode}"


def limits_of(folder):
    """Runs the programs without a bug. Returns how long each may take, and what failed, or None."""
    limits = {}
    for name in LOCK_PROGRAMS + POOL_PROGRAMS:
        start = time.monotonic()
        how = run(folder / name, "", 1, FIRST_LIMIT_SECONDS)
        if how is not None:
            return limits, f"{pathlib.Path(name).name}: {how}"
        limits[name] = max(LEAST_LIMIT_SECONDS, LIMIT_TIMES * (time.monotonic() - start))
    return limits, None


def first_failure(folder, bug, programs, limits):
    """Runs the programs until one fails. Returns which one and how, or None."""
    for seed in range(1, ATTEMPTS + 1):
        for name in programs:
            how = run(folder / name, bug, seed, limits[name])
            if how is not None:
                return f"{pathlib.Path(name).name}: {how} (seed {seed})"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    known = bugs_of(arguments.source)
    unknown = set(arguments.names) - set(known)
    if unknown or not known:
        print(f"Bail out! no such bug: {', '.join(sorted(unknown)) or 'none at all'}")
        return 1
    broken = build(arguments.source, arguments.build)
    if broken is not None:
        print("Bail out! does not build")
        print(broken, file=sys.stderr)
        return 1
    chosen = arguments.names or list(known)
    print(f"1..{len(chosen) + 1}", flush=True)
    limits, broken = limits_of(arguments.build)
    print(f"{'ok' if broken is None else 'not ok'} 1 - without a bug")
    print(f"# {broken or 'no test fails'}", flush=True)
    if broken is not None:
        print("Bail out! what fails without a bug says nothing of one")
        return 1

    failures = 0
    for number, bug in enumerate(chosen, 2):
        start = time.monotonic()
        verdict = first_failure(arguments.build, bug, known[bug], limits)
        failures += verdict is None
        seconds = time.monotonic() - start
        print(f"{'not ok' if verdict is None else 'ok'} {number} - {bug}")
        print(f"# {seconds:5.0f} s  {verdict or 'no test fails'}", flush=True)
    shutil.rmtree(arguments.build, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
