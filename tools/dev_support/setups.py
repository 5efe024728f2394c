# SPDX-License-Identifier: Apache-2.0
"""The build folders: build/<name>, each with a compiler and options of its own."""

import dataclasses
import json
import os
import platform
import shutil
import subprocess

import console

_ALL_FEATURES = ["-Dtests=enabled", "-Dbenchmarks=enabled", "-Dtools=enabled"]
_TESTS_ONLY = ["-Dtests=enabled", "-Dbenchmarks=disabled", "-Dtools=disabled"]
# Instrumented code takes the compiler two to three times as long. Half of it is for what nobody reads
# in a report: more than lines, and the last bit of speed.
_INSTRUMENTED = [
    "-Dbuildtype=debug",
    "-Doptimization=1",
    "-Ddebug=false",
    "-Dc_args=-g1",
    "-Dcpp_args=-g1",
    *_TESTS_ONLY,
]
# Meson looks for ccache by itself only where it chooses the compiler.
_CACHE = "ccache " if shutil.which("ccache") else ""
_CLANG = {"CC": f"{_CACHE}clang-19", "CXX": f"{_CACHE}clang++-19"}


@dataclasses.dataclass(frozen=True)
class Setup:
    """One way to build the project. Warnings are errors in all of them."""

    name: str
    options: list
    compiler: dict = dataclasses.field(default_factory=dict)
    # Environment of the tests.
    environment: dict = dataclasses.field(default_factory=dict)
    # Instrumented code is this many times slower.
    slowdown: int = 1
    # The sanitizer's shadow memory collides with a randomised address space.
    fixed_addresses: bool = False

    @property
    def folder(self):
        return console.ROOT / "build" / self.name

    def configure(self, step):
        """Brings the folder to these options, from whatever state it is in."""
        command = ["meson", "setup", self.folder, "-Dwerror=true", *self.options]
        stamp = self.folder / "dev-setup.json"
        wanted = json.dumps([[str(part) for part in command], self.compiler])
        if (self.folder / "build.ninja").exists():
            if stamp.exists() and stamp.read_text() == wanted:
                # Regenerates where a meson.build changed: introspection is stale else.
                step.run(["ninja", "-C", self.folder, "build.ninja"])
                return
        if self.folder.exists():
            shutil.rmtree(self.folder)
        step.run(command, env={**os.environ, **self.compiler})
        stamp.write_text(wanted)

    def build(self, targets=()):
        """Configures where needed, and builds the named targets, or all."""
        with console.Step(f"{self.name}: build", log=f"{self.name}-build.log") as step:
            self.configure(step)
            step.run(["ninja", "-C", self.folder, *targets])

    def introspect(self, what):
        """Returns what Meson knows of the folder: tests, targets, ..."""
        output = subprocess.run(
            ["meson", "introspect", self.folder, f"--{what}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        return json.loads(output)

    def test_command(self):
        """The start of a command line that runs this set-up's programs."""
        if not self.fixed_addresses:
            return []
        fixed = ["setarch", platform.machine(), "-R"]
        # A container may forbid it; then the machine's own setting has to do.
        allowed = subprocess.run([*fixed, "true"], stderr=subprocess.DEVNULL, check=False)
        return fixed if allowed.returncode == 0 else []


RELEASE = Setup("release", _ALL_FEATURES)

CLANG = Setup("clang", _ALL_FEATURES, compiler=_CLANG)

THREAD_SANITIZER = Setup(
    "tsan",
    ["-Db_sanitize=thread", *_INSTRUMENTED],
    # Children of fork() that start threads are among what is tested.
    environment={"TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1:die_after_fork=0"},
    slowdown=5,
    fixed_addresses=True,
)

# clang's, for its fuzzers: one build serves both.
ADDRESS_SANITIZER = Setup(
    "asan",
    [
        "-Db_sanitize=address,undefined",
        # clang links the sanitizer's run-time library into programs alone.
        "-Db_lundef=false",
        "-Dfuzzers=enabled",
        *_INSTRUMENTED,
    ],
    compiler=_CLANG,
    environment={
        "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        # The run-time library clears shadow memory by `rep stosb`, which a test that goes step by step
        # sees as one step a byte.
        "GLIBC_TUNABLES": "glibc.cpu.x86_rep_stosb_threshold=1000000000",
        # clang's run-time library calls a program to name a line; g++'s reads the tables.
        "ASAN_SYMBOLIZER_PATH": "/usr/lib/llvm-19/bin/llvm-symbolizer",
    },
    slowdown=3,
)
