# SPDX-License-Identifier: Apache-2.0
"""`tools/dev format` and `tools/dev lint`."""

import subprocess

import console
import packages
import setups

_FOLDERS = ("bpf", "drivers", "hal", "resmgr", "tests", "tools")
_SUFFIXES = {".c", ".cpp", ".h", ".hpp"}


def format_files(_arguments):
    packages.ensure(packages.FORMAT)
    files = _sources()
    with console.Step(f"format: {len(files)} files", log="format.log") as step:
        step.run(["clang-format-19", "-i", *files])
    return 0


def lint(_arguments):
    packages.ensure(packages.LINT)
    problems = [_check(check) for check in (_lint_format, _lint_tidy)]
    return 1 if any(problems) else 0


def _check(check):
    """Runs one check. Returns whether it found something, after showing that."""
    try:
        check()
    except console.Failure as failure:
        console.note(str(failure))
        return True
    return False


def _lint_format():
    files = _sources()
    with console.Step(f"lint: clang-format, {len(files)} files", log="lint-format.log") as step:
        step.run(["clang-format-19", "--dry-run", "-Werror", *files])


def _lint_tidy():
    setup = setups.CLANG
    with console.Step("clang: configure", log="clang-configure.log") as step:
        setup.configure(step)
    compiled = {entry["file"] for entry in _compile_commands(setup)}
    files = [file for file in _sources() if str(file) in compiled]
    with console.Step(f"lint: clang-tidy, {len(files)} files", log="lint-tidy.log") as step:
        step.run(["run-clang-tidy-19", "-quiet", "-p", setup.folder, *map(_exactly, files)])


def _compile_commands(setup):
    """Returns the set-up's compile commands, with absolute paths of sources."""
    commands = setup.introspect("targets")
    return [
        {"file": source}
        for target in commands
        for group in target["target_sources"]
        for source in group["sources"]
    ]


def _exactly(path):
    # run-clang-tidy takes regular expressions.
    return f"^{path}$".replace("+", r"\+").replace(".", r"\.")


def _sources():
    """Returns the C and C++ files of the project."""
    return sorted(
        path
        for folder in _FOLDERS
        for path in (console.ROOT / folder).rglob("*")
        if path.suffix in _SUFFIXES
    )
