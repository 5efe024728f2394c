# SPDX-License-Identifier: Apache-2.0
"""The project's files as the checks see them: without builds and caches."""

import pathlib
import tempfile

PARTS = ("bpf", "drivers", "hal", "resmgr", "tests", "tools")
CODE = {".c", ".cpp", ".h", ".hpp"}
HEADERS = {".h", ".hpp"}


def files(root):
    """Returns the paths of all files below `root`, relative to it, in order."""
    return sorted(path.relative_to(root) for path in _walk(root))


def _walk(folder):
    for path in folder.iterdir():
        # A work tree that git added has a file of this name instead of a folder.
        if path.is_symlink() or path.name == ".git":
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and not is_foreign(path):
            yield from _walk(path)


def is_foreign(folder):
    """Returns whether a folder holds something that is not the project's source."""
    return folder.name in {".git", ".cache", "build", "__pycache__"} or (
        folder / "meson-private"
    ).is_dir()


def code(root, suffixes=frozenset(CODE)):
    """Returns the C and C++ files of the project's parts, relative to `root`."""
    return [path for path in files(root) if path.suffix in suffixes and path.parts[0] in PARTS]


def planted(content):
    """Makes a temporary tree of `{path: text}`; use it in a `with` statement.

    For the checks of the checks: what is wrong there must be found.
    """
    folder = tempfile.TemporaryDirectory()
    for name, text in content.items():
        path = pathlib.Path(folder.name) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
