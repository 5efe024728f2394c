# SPDX-License-Identifier: Apache-2.0
"""Runs the whole demo inside control groups that have little memory.

Usage: memory_test.py DEMO [RESMGRD]
"""

import contextlib
import os
import pathlib
import sys
import tempfile

import tap
from demo_test import FAST, FRAME, SHAPE, differences, run, sample

_MIB = 1024 * 1024
_FRAMES = 200
# (root, the file of the limit, that of how often the limit was met by an end)
_VERSIONS = [
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control"),
    # Only where the controller is handed down to the root's children.
    ("/sys/fs/cgroup", "memory.max", "memory.events"),
]


@contextlib.contextmanager
def memory_group(limit):
    """A control group that may use `limit` bytes: its folder, and the file that tells of ends."""
    for root, limit_file, events in _VERSIONS:
        folder = pathlib.Path(root) / f"resmgr-demo-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            if (folder / limit_file).exists():
                (folder / limit_file).write_text(str(limit), encoding="ascii")
                yield folder, folder / events
                return
        finally:
            folder.rmdir()
    raise tap.Skip("no control group for memory can be made here")


def ends(events):
    """How many processes of the group the kernel has ended for want of memory."""
    words = dict(line.split() for line in events.read_text(encoding="ascii").splitlines())
    return int(words["oom_kill"])


def runs_within(limit, demo, path, options):
    with memory_group(limit) as (folder, events):
        def enter():
            (folder / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

        done = run(demo, "--input", path, *SHAPE, *FAST, "--frames", str(_FRAMES), *options,
                   preexec_fn=enter)
        problems = differences({"ended for want of memory": 0},
                               {"ended for want of memory": ends(events)})
    for words in (f"{_FRAMES} frames", "agree on every frame", "leaks      none"):
        if words not in done.stdout:
            problems.append(f"does not say: {words}")
    return problems + ([f"status {done.returncode}: {done.stderr}"] if done.returncode != 0 else [])


def needs_more(limit, demo, path):
    """That the limit is one: in a tenth of a program's size nothing runs."""
    problems = runs_within(limit, demo, path, [])
    return [] if problems else [f"it ran within {limit} bytes"]


def main():
    demo = pathlib.Path(sys.argv[1])
    report = tap.Report()
    with tempfile.TemporaryDirectory() as name:
        path = sample(pathlib.Path(name), 37 * FRAME)
        for size in (16, 64):
            report.run(f"in {size} MiB", runs_within, size * _MIB, demo, path, [])
        if len(sys.argv) > 2:
            served = ["--served", "--resmgrd", sys.argv[2]]
            report.run("with all drivers and resmgrd in 16 MiB", runs_within, 16 * _MIB, demo, path, served)
        report.run("not in 256 KiB", needs_more, _MIB // 4, demo, path)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
