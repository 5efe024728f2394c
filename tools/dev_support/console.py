# SPDX-License-Identifier: Apache-2.0
"""What the user sees: one line for each step, and the log of a step that failed."""

import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOGS = ROOT / "build" / "logs"

# Enough to see a compiler's first error or a test's last words.
TAIL_LINES = 80


class Failure(Exception):
    """Ends the program with status 1 and this text."""


def note(text):
    print(text, file=sys.stderr, flush=True)


def tail(path, lines=TAIL_LINES):
    """Returns the last lines of a text file, with a mark where it was cut."""
    content = path.read_text(errors="replace").splitlines()
    cut = [] if len(content) <= lines else [f"... ({len(content) - lines} lines before)"]
    return "\n".join(cut + content[-lines:])


class Step:
    """One line of progress around commands whose output goes to a log file.

    Leaving it normally prints `ok` and the time taken. A command that fails
    raises Failure with the end of the log.
    """

    def __init__(self, title, log):
        self.title = title
        self.path = LOGS / log
        self.outcome = "ok"

    def __enter__(self):
        LOGS.mkdir(parents=True, exist_ok=True)
        self._log = self.path.open("w")
        self._start = time.monotonic()
        print(f"{self.title} ... ", end="", flush=True)
        return self

    def __exit__(self, kind, error, trace):
        self._log.close()
        word = self.outcome if kind is None else "FAILED"
        print(f"{word} ({time.monotonic() - self._start:.0f} s)", flush=True)

    def write(self, text):
        """Puts text into the log."""
        self._log.write(text)

    def run(self, command, check=True, **options):
        """Runs a command without input. Returns its exit status."""
        command = [str(part) for part in command]
        self._log.write("$ " + " ".join(command) + "\n")
        self._log.flush()
        status = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            check=False,
            **{"cwd": ROOT, **options},
        ).returncode
        if check and status != 0:
            raise Failure(
                f"{tail(self.path)}\n{command[0]} ended with status {status};"
                f" the whole log: {self.path.relative_to(ROOT)}"
            )
        return status
