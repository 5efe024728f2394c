# SPDX-License-Identifier: Apache-2.0
"""Installs into a folder of its own and builds another project's driver against that.

The driver that the README shows is built in the same way: who copies it must not be the first to
compile it.

Usage: install.py BUILD DRIVER_SOURCE README VERSION PREFIX LIBDIR PUBLIC_HEADER...
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import tap

_WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
_COMPILERS = ("g++", "clang++-19")

# The README's first block of C++, and what its program says.
_BLOCK = re.compile(r"^```cpp\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_README_SAYS = "dma0/channel/0 is held by dma-example"
_README_LINES = 25


def main():
    build, source, readme, version, prefix, libdir = sys.argv[1:7]
    headers = sys.argv[7:]
    report = tap.Report()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        copy = folder / "copy"
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
            case = f"{compiler} builds a driver that runs"
            report.run(case, driver_runs, compiler, source, folder, environment)
        example = folder / "readme.cpp"
        report.run("the README shows a short driver", extract_example, readme, example)
        for compiler in _COMPILERS:
            case = f"{compiler} builds the README's driver, which names a holder"
            report.run(case, driver_runs, compiler, example, folder, environment, _README_SAYS)
    return report.finish()


def run(command, environment=None, says=""):
    """Returns what a command printed that fails, or doesn't say what it should."""
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode == 0 and says in done.stdout:
        return []
    return [f"{command[0]}: status {done.returncode}", done.stdout]


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


def extract_example(readme, example):
    found = _BLOCK.search(pathlib.Path(readme).read_text())
    if not found:
        return ["it has no block of C++"]
    example.write_text(found[1])
    lines = len(found[1].splitlines())
    return [f"it has {lines} lines"] if lines > _README_LINES else []


def driver_runs(compiler, source, folder, environment, says=""):
    if shutil.which(compiler) is None:
        raise tap.Skip(f"no {compiler} on this machine")
    program = folder / f"{pathlib.Path(source).stem}-{compiler}"
    flags = pkg_config(environment, "--cflags", "--libs")
    built = run([compiler, "-std=c++23", *_WARNINGS, source, "-o", program, *flags], environment)
    return built or needs_by_soname(program) + run([program], environment, says)


def needs_by_soname(program):
    """Returns a problem unless the program asks the loader for libhal by its major number."""
    dynamic = subprocess.run(
        ["readelf", "-d", program], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return [] if "Shared library: [libhal.so.0]" in dynamic else [dynamic]


if __name__ == "__main__":
    sys.exit(main())
