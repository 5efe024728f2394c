# SPDX-License-Identifier: Apache-2.0
"""Lets systemd-analyze judge the units, without a running systemd.

Usage: units.py BINDIR UNIT...
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import tap

# The first that reviews files without a manager.
_VERSION = 250

# Tenths of systemd's points, of which a service without any confinement has nearly 100. Version 252
# gives 7, for rights that the unit has reasons for; later ones may look at more.
_EXPOSURE = 10

# What the daemon can't be without, and what nothing that breaks into it shall have.
_NEEDED = {
    "accept4", "clone3", "close_range", "fcntl", "flock", "futex", "futex_waitv", "io_uring_enter",
    "io_uring_register", "io_uring_setup", "kill", "mbind", "memfd_create", "mmap", "pidfd_open",
    "pidfd_send_signal", "poll", "recvmsg", "sendmsg", "socket", "waitid", "write",
}  # fmt: skip
_UNWANTED = {"bpf", "keyctl", "mount", "perf_event_open", "process_vm_writev", "ptrace", "setuid"}


def main():
    bindir = sys.argv[1]
    units = {pathlib.Path(path).name: pathlib.Path(path).read_text() for path in sys.argv[2:]}
    report = tap.Report()
    # Of a template, one instance.
    units = {name.replace("@.", "@edu."): text for name, text in units.items()}
    report.run("there is a pair for the domain main, and one for others", has_pairs, units)
    report.run("systemd understands them", verify, units, bindir)
    services = {name: text for name, text in units.items() if name.endswith(".service")}
    for name, text in services.items():
        report.run(f"{name} has no more rights than it needs", review, name, text)
        report.run(f"{name} may call what it needs", calls, text)
    self_test(report, units, bindir)
    return report.finish()


def has_pairs(units):
    kinds = (".service", ".socket")
    wanted = {stem + kind for stem in ("resmgrd", "resmgrd@edu") for kind in kinds}
    problems = [f"is missing: {name}" for name in sorted(wanted - set(units))]
    return problems + [f"does not belong there: {name}" for name in sorted(set(units) - wanted)]


def verify(units, bindir):
    """Returns what systemd says about `units`, run from a folder with a program in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        program = folder / "resmgrd"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        for unit, text in units.items():
            (folder / unit).write_text(text.replace(f"={bindir}/resmgrd ", f"={program} "))
        # An empty entry at the end: those of the system as well.
        environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_LOG_COLOR": "0"}
        command = ["verify", "--man=no", "--recursive-errors=no"]
        result = analyze(command + [folder / unit for unit in units], environment)
        # The system's own units are not ours to judge.
        lines = result.stdout.splitlines() + result.stderr.splitlines()
        problems = [line for line in lines if "resmgrd" in line]
        return problems or ([f"status {result.returncode}"] if result.returncode else [])


def review(name, text, exposure=_EXPOSURE):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / name
        path.write_text(text)
        command = ["security", "--offline=yes", "--no-pager", f"--threshold={exposure}"]
        result = analyze(command + [path])
    if result.returncode == 0:
        return []
    return [line for line in result.stdout.splitlines() if not line.startswith("✓")]


def calls(text):
    allowed = set()
    for value in re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE):
        names = set().union(*(expand(word) for word in value.lstrip("~").split()))
        allowed = allowed - names if value.startswith("~") else allowed | names
    problems = [f"may not call {name}" for name in sorted(_NEEDED - allowed)]
    return problems + [f"may call {name}" for name in sorted(_UNWANTED & allowed)]


def expand(word):
    """Returns the calls that a set contains, with those of the sets in it."""
    if not word.startswith("@"):
        return {word}
    lines = analyze(["syscall-filter", word]).stdout.splitlines()[1:]
    words = {line.strip() for line in lines if line.strip() and not line.strip().startswith("#")}
    return set().union(*(expand(inner) for inner in words))


def analyze(arguments, environment=None):
    program = shutil.which("systemd-analyze")
    if program is None:
        raise tap.Skip("there is no systemd-analyze")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"systemd (\d+)", version.stdout)
    if not found or int(found[1]) < _VERSION:
        raise tap.Skip(f"systemd-analyze is older than {_VERSION}")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, env=environment
    )


def self_test(report, units, bindir):
    name = "resmgrd.service"
    text = units.get(name, "")

    def expect(fault, check, *arguments):
        def found():
            return [] if check(*arguments) else ["not found"]

        report.run(f"finds {fault}", found)

    def without(pattern):
        return re.sub(pattern, "", text, flags=re.MULTILINE)

    misspelt = text.replace("ProtectSystem=", "ProtectSytem=")
    expect("a misspelt setting", verify, {**units, name: misspelt}, bindir)
    expect("a program that is not there", verify, units, "/nowhere")
    expect("a unit without its socket", has_pairs, {name: text})
    expect("rights too many", review, name, without(r"^CapabilityBoundingSet=.*\n"))
    expect("a filter that lets too much in", calls, without(r"^SystemCallFilter=~.*\n"))
    expect("a filter that keeps too much out", calls, without(r"^SystemCallFilter=mbind\n"))


if __name__ == "__main__":
    sys.exit(main())
