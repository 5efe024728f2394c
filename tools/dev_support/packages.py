# SPDX-License-Identifier: Apache-2.0
"""Which Debian 12 packages each verb needs, and how they get there."""

import os
import shutil
import subprocess

import console

# Everything that the build finds with its features on: one configured build
# folder then serves demo, test and bench.
BUILD = [
    "g++",
    "libabsl-dev",
    "libasio-dev",
    "libbenchmark-dev",
    "libboost-dev",
    "libcli11-dev",
    "libfmt-dev",
    "libgmock-dev",
    "libgtest-dev",
    "libnuma-dev",
    "libtomlplusplus-dev",
    "liburing-dev",
    "meson",
    "ninja-build",
    "nlohmann-json3-dev",
    "pkg-config",
    "python3",
]

# Peers that only a measurement needs.
BENCH = BUILD + ["libdpdk-dev", "libtcmalloc-minimal4"]

# The model checker, and the second compiler with its sanitizer and fuzzer
# run-time libraries, and the program that gives their reports line numbers.
TEST = BUILD + ["clang-19", "libclang-rt-19-dev", "llvm-19", "spin"]

FORMAT = ["clang-format-19"]

# clang-tidy reads the compile commands of a build folder that clang configured.
LINT = BUILD + FORMAT + ["clang-19", "clang-tidy-19"]


def missing(names):
    """Returns those of `names` that dpkg does not have installed."""
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    installed = set()
    for line in query.stdout.splitlines():
        name, status = line.split()
        if status == "installed":
            installed.add(name)
    return [name for name in names if name not in installed]


def ensure(names):
    """Installs what is missing of `names`; stops the program where it can't."""
    if shutil.which("dpkg-query") is None:
        console.note("not a Debian system: assuming that these are installed: " + " ".join(names))
        return
    wanted = missing(names)
    if not wanted:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *wanted]
    if os.geteuid() != 0:
        raise console.Failure("these packages are missing; as root, run:\n  " + " ".join(install))

    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    # Another apt may be at work, as it often is on a machine that just started.
    wait = ["-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3"]
    with console.Step("packages: " + " ".join(wanted), log="packages.log") as step:
        step.run(["apt-get", *wait, "update"], env=environment)
        step.run([install[0], *wait, *install[1:]], env=environment)
