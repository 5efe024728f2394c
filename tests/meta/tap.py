# SPDX-License-Identifier: Apache-2.0
"""Prints the results of checks in the Test Anything Protocol, which Meson reads."""

import sys


class Skip(Exception):
    """Raised by a case that can't run here; its text says why."""


class Report:
    """Numbers the cases, prints each as it ends, and knows whether all passed."""

    def __init__(self):
        self._count = 0
        self._failed = 0

    def case(self, name, problems):
        """Reports one case: passed where `problems` is empty, else failed with them."""
        problems = list(problems)
        self._count += 1
        self._failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {self._count} {name}")
        for problem in problems:
            for line in str(problem).splitlines():
                print(f"# {line}")
        sys.stdout.flush()

    def skip(self, name, reason):
        self._count += 1
        print(f"ok {self._count} {name} # SKIP {reason}", flush=True)

    def run(self, name, check, *arguments):
        """Reports the case that `check(*arguments)` decides, by the problems it returns."""
        try:
            self.case(name, check(*arguments))
        except Skip as reason:
            self.skip(name, reason)

    def finish(self):
        """Prints the plan. Returns the exit status."""
        print(f"1..{self._count}")
        return 1 if self._failed else 0
