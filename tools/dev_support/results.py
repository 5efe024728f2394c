# SPDX-License-Identifier: Apache-2.0
"""Reads what `meson test` leaves behind into single test cases.

Meson writes two records: JSON with one line a test program, and JUnit XML
with the cases inside programs that report them (GoogleTest, TAP). A program
can fail after its last case passed (a leak found at exit, a crash); so both
are read, and neither alone decides.
"""

import dataclasses
import json
import xml.etree.ElementTree

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

_GOOD = {"OK", "EXPECTEDFAIL"}

# Lines of a failed program's output worth showing.
_OUTPUT_LINES = 60
# TAP's and GoogleTest's lines about cases that passed.
_PASSED_LINES = ("ok ", "[       OK ]")


@dataclasses.dataclass(frozen=True)
class Case:
    setup: str
    # Meson's name of the test, and the name of the case inside it ("" where
    # the program is the case).
    test: str
    name: str
    status: str
    # Why it was skipped or failed.
    reason: str = ""

    def __str__(self):
        return " ".join(part for part in (f"{self.setup}:", self.test, self.name) if part)


def collect(setup, folder, logbase, protocols):
    """Returns the cases of one run of `meson test`.

    `protocols` has the tests that were to run, and how each reports ("exitcode",
    "gtest", "tap"): one that left no record counts as failed.
    """
    programs = _programs(folder / "meson-logs" / f"{logbase}.json")
    cases = {name: [] for name in protocols}
    for test, case in _cases(folder / "meson-logs" / f"{logbase}.junit.xml", setup, protocols):
        cases[test].append(case)

    for test, found in cases.items():
        record = programs.get(test)
        if record is None:
            found[:] = [Case(setup, test, "", FAILED, "did not run")]
        elif not any(case.name for case in found):
            found[:] = [_whole_program(setup, test, record, protocols[test])]
        elif record["result"] not in _GOOD | {"SKIP"} and not _any_failed(found):
            found.append(Case(setup, test, "", FAILED, _last_words(record)))
    return [case for found in cases.values() for case in found]


def failed_output(folder, logbase, tests):
    """Yields (test, end of its output) of the tests that are named."""
    for test, record in _programs(folder / "meson-logs" / f"{logbase}.json").items():
        if test in tests:
            output = (record.get("stdout") or "") + (record.get("stderr") or "")
            lines = [line for line in output.splitlines() if not line.startswith(_PASSED_LINES)]
            yield test, "\n".join(lines[-_OUTPUT_LINES:])


def _any_failed(cases):
    return any(case.status == FAILED for case in cases)


def _programs(path):
    if not path.exists():
        return {}
    with path.open() as lines:
        records = [json.loads(line) for line in lines]
    return {_plain(record["name"]): record for record in records}


def _plain(name):
    """Returns a test's name without the suites that Meson writes before it."""
    return name.rpartition(" / ")[2]


def _whole_program(setup, test, record, protocol):
    """Returns the case of a program that reported none inside it."""
    if record["result"] == "SKIP":
        return Case(setup, test, "", SKIPPED, _last_line(record) or "no reason given")
    if record["result"] not in _GOOD:
        return Case(setup, test, "", FAILED, _last_words(record))
    if protocol != "exitcode":
        return Case(setup, test, "", FAILED, "holds no test case")
    return Case(setup, test, "", PASSED)


def _last_line(record):
    lines = [line for line in (record.get("stdout") or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _last_words(record):
    return f"{record['result'].lower()}, exit status {record['returncode']}"


def _cases(path, setup, tests):
    """Yields (test, case) for each case that the JUnit record names."""
    if not path.exists():
        return
    for suite in xml.etree.ElementTree.parse(path).getroot().iter("testsuite"):
        # project, project.test or project.test.suite-inside
        inside = _plain(suite.get("name").partition(".")[2])
        for entry in suite.iter("testcase"):
            if not inside:
                test, name = _plain(entry.get("name")), ""
            else:
                test = _owner(inside, tests)
                group = inside[len(test) + 1 :] if test else ""
                name = f"{group}.{entry.get('name')}" if group else entry.get("name")
            if test in tests:
                yield test, _case(setup, test, name, entry)


def _owner(inside, tests):
    candidates = [test for test in tests if inside == test or inside.startswith(test + ".")]
    return max(candidates, key=len, default=None)


def _case(setup, test, name, entry):
    if entry.get("status") == "notrun":
        return Case(setup, test, name, SKIPPED, "disabled in its source")
    for mark in ("failure", "error"):
        if entry.find(mark) is not None:
            return Case(setup, test, name, FAILED, _text(entry.find(mark)))
    if entry.find("skipped") is not None:
        reason = _text(entry.find("skipped")) or _text(entry.find("system-out"))
        return Case(setup, test, name, SKIPPED, reason or "no reason given")
    return Case(setup, test, name, PASSED)


def _text(element):
    """Returns a message as one line, without GoogleTest's source position."""
    if element is None:
        return ""
    lines = (element.get("message") or element.text or "").strip().splitlines()
    if len(lines) > 1 and ":" in lines[0] and " " not in lines[0]:
        lines = lines[1:]
    return " ".join(line.strip() for line in lines if line.strip())
