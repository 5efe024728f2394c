# SPDX-License-Identifier: Apache-2.0
"""`tools/dev format` and `tools/dev lint`."""

import console
import packages
import setups
import tidy

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
    with console.Step("lint: clang-tidy", log="lint-tidy.log") as step:
        tidy.check(setup.folder, step)


def _sources():
    """Returns the C and C++ files of the project."""
    return sorted(
        path
        for folder in _FOLDERS
        for path in (console.ROOT / folder).rglob("*")
        if path.suffix in _SUFFIXES
    )
