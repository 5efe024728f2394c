# SPDX-License-Identifier: Apache-2.0
"""`tools/dev test`: the tier for every change, and with --full the long one."""

import dataclasses
import os
import re

import console
import packages
import results
import setups

# Meson's own exclusion of long tests is off (its set-up `full`): they are chosen
# here, by name. It adds the set-up's name to that of the record.
_SETUP = "full"
_LOGBASE = "dev"
_RECORD = f"{_LOGBASE}-{_SETUP}"


@dataclasses.dataclass(frozen=True)
class Run:
    """The tests of one set-up: those in any of `suites`, or all (None)."""

    setup: setups.Setup
    suites: frozenset | None = None


_EVERY_CHANGE = [
    Run(setups.RELEASE),
    Run(setups.THREAD_SANITIZER, frozenset({"engine"})),
    Run(setups.ADDRESS_SANITIZER, frozenset({"engine", "fuzz"})),
]

_INSTRUMENTED = frozenset({"engine", "hal", "drivers"})

_FULL = [
    Run(setups.RELEASE),
    Run(setups.CLANG),
    Run(setups.THREAD_SANITIZER, _INSTRUMENTED),
    Run(setups.ADDRESS_SANITIZER, _INSTRUMENTED | {"fuzz"}),
]


def main(arguments):
    packages.ensure(packages.TEST)
    pattern = re.compile(arguments.filter) if arguments.filter else None
    cases = []
    broken = []
    for run in _FULL if arguments.full else _EVERY_CHANGE:
        # One set-up that can't be built must not hide the others' results.
        try:
            cases += _execute(run, arguments.full, pattern)
        except console.Failure as failure:
            console.note(str(failure))
            broken.append(run.setup.name)
    return _report(cases, broken)


def _execute(run, full, pattern):
    """Builds one set-up, runs its tests, and returns their cases."""
    setup = run.setup
    with console.Step(f"{setup.name}: configure", log=f"{setup.name}-configure.log") as step:
        setup.configure(step)
    chosen = _choose(run, full)
    if not chosen and pattern is None:
        raise console.Failure(f"{setup.name}: has none of the tests that it is there to run")
    if pattern is not None:
        chosen = [test for test in chosen if pattern.search(test["name"])]
    if not chosen:
        return []

    setup.build(() if run.suites is None and pattern is None else _targets(setup, chosen))
    protocols = {test["name"]: test["protocol"] for test in chosen}
    names = list(protocols)
    _forget(setup, names)
    with console.Step(f"{setup.name}: {len(names)} tests", log=f"{setup.name}-test.log") as step:
        step.run(
            [
                *setup.test_command(),
                *("meson", "test", "-C", setup.folder, "--no-rebuild", "--setup", _SETUP),
                *("--logbase", _LOGBASE, "--timeout-multiplier", setup.slowdown),
                *names,
            ],
            check=False,
            env={**os.environ, **setup.environment},
        )
        cases = results.collect(setup.name, setup.folder, _RECORD, protocols)
        failed = {case.test for case in cases if case.status == results.FAILED}
        step.outcome = _counts(cases)
    for test, output in results.failed_output(setup.folder, _RECORD, failed):
        print(f"---- {setup.name}: {test}\n{output}\n----")
    return cases


def _choose(run, full):
    """Returns those of the set-up's tests, as Meson describes them, that are due."""
    chosen = []
    for test in run.setup.introspect("tests"):
        suites = {suite.rpartition(":")[2] for suite in test["suite"]}
        if "full" in suites and not full:
            continue
        if run.suites is None or suites & run.suites:
            chosen.append(test)
    return chosen


def _targets(setup, tests):
    """Returns the files that have to be built before these tests can run."""
    wanted = {target for test in tests for target in test["depends"]}
    return sorted(
        os.path.relpath(file, setup.folder)
        for target in setup.introspect("targets")
        if target["id"] in wanted
        for file in target["filename"]
    )


def _forget(setup, names):
    """Removes the records of an earlier run, which a test that crashes would leave."""
    records = [setup.folder / f"{name}.xml" for name in names]
    records += (setup.folder / "meson-logs").glob(f"{_RECORD}.*")
    for record in records:
        record.unlink(missing_ok=True)


def _counts(cases):
    counts = {status: 0 for status in (results.PASSED, results.FAILED, results.SKIPPED)}
    for case in cases:
        counts[case.status] += 1
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _report(cases, broken):
    """Prints skips, failures and the closing line. Returns the exit status."""
    for status, title in ((results.SKIPPED, "Skipped:"), (results.FAILED, "Failed:")):
        listed = [case for case in cases if case.status == status]
        if listed:
            print(title)
        for case in listed:
            print(f"  {case}: {case.reason}" if case.reason else f"  {case}")
    if broken:
        print("Not tested: " + ", ".join(broken))
    if not cases:
        print("No test ran.")
    # A set-up that can't be built counts as one failure: the closing line alone
    # must tell that something is wrong.
    cases = cases + [results.Case(name, "", "", results.FAILED) for name in broken]
    print(_counts(cases))
    failed = any(case.status == results.FAILED for case in cases)
    return 1 if failed or not cases else 0
