# SPDX-License-Identifier: Apache-2.0
"""Installs into a folder of its own and builds another project's driver against that.

Usage: install.py BUILD DRIVER_SOURCE VERSION PREFIX LIBDIR PUBLIC_HEADER...
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import tap

_WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
_COMPILERS = ("g++", "clang++-19")


def main():
    build, source, version, prefix, libdir = sys.argv[1:6]
    headers = sys.argv[6:]
    report = tap.Report()
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "copy"
        install = ["meson", "install", "-C", build, "--quiet", "--destdir", copy]
        report.run("meson install succeeds", run, install)
        libraries = copy / prefix.lstrip("/") / libdir
        environment = {
            **os.environ,
            "PKG_CONFIG_SYSROOT_DIR": str(copy),
            "PKG_CONFIG_PATH": str(libraries / "pkgconfig"),
            "LD_LIBRARY_PATH": str(libraries),
        }
        report.run("all of it is under the prefix", only_in_prefix, copy, prefix)
        report.run("the public headers are there", has_headers, copy / prefix.lstrip("/"), headers)
        report.run("the engine is not", without_engine, copy)
        report.run("pkg-config knows the version", has_version, environment, version)
        for compiler in _COMPILERS:
            name = f"{compiler} builds a driver that runs"
            report.run(name, driver_runs, compiler, source, pathlib.Path(folder), environment)
    return report.finish()


def run(command, environment=None):
    """Returns what a command that fails printed."""
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        check=False,
    )
    return [f"{command[0]}: status {done.returncode}", done.stdout] if done.returncode else []


def files(folder):
    return [path for path in folder.rglob("*") if not path.is_dir()]


def only_in_prefix(copy, prefix):
    installed = files(copy)
    home = copy / prefix.lstrip("/")
    strays = [str(path) for path in installed if home not in path.parents]
    return strays if installed else ["nothing was installed"]


def has_headers(home, headers):
    names = [path.partition("/include/")[2] or path[path.index("resmgr/") :] for path in headers]
    return [f"{name} is missing" for name in names if not (home / "include" / name).is_file()]


def without_engine(copy):
    return [str(path) for path in files(copy) if path.name.startswith("libresmgr")]


def has_version(environment, version):
    said = pkg_config(environment, "--modversion")
    return [] if said == [version] else [f"it says {said}, not {version}"]


def pkg_config(environment, *options):
    command = ["pkg-config", *options, "libhal"]
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()


def driver_runs(compiler, source, folder, environment):
    if shutil.which(compiler) is None:
        raise tap.Skip(f"no {compiler} on this machine")
    program = folder / f"driver-{compiler}"
    flags = pkg_config(environment, "--cflags", "--libs")
    built = run([compiler, "-std=c++23", *_WARNINGS, source, "-o", program, *flags], environment)
    return built or needs_by_soname(program) + run([program], environment)


def needs_by_soname(program):
    """Returns a problem unless the program asks the loader for libhal by its major number."""
    dynamic = subprocess.run(
        ["readelf", "-d", program], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return [] if "Shared library: [libhal.so.0]" in dynamic else [dynamic]


if __name__ == "__main__":
    sys.exit(main())
