# SPDX-License-Identifier: Apache-2.0
"""Runs a small Meson project and checks that each outcome is counted as what it is.

The count that closes `tools/dev test` is what everybody trusts; here are the
ways in which a failure could hide from it.
"""

import pathlib
import subprocess
import sys
import tempfile

import results
import tap

_PROJECT = """project('sample')
sh = find_program('sh')
foreach name, content : {{
{tests}
}}
  test(name, sh, args: ['-c', content[1]], protocol: content[0], suite: ['one', 'two'])
endforeach
"""

# A GoogleTest program is told where to write its record by its last argument.
_RECORD = "printf '%s' '<testsuites><testsuite name=\"Suite\">{}</testsuite></testsuites>'"
_RECORD += ' > "${{0#--gtest_output=xml:}}"'
_CASE = '<testcase name="{}" classname="Suite" status="{}">{}</testcase>'


def _gtest(*cases, then="exit 0"):
    inside = "".join(_CASE.format(name, status, mark) for name, status, mark in cases)
    return "gtest", f"{_RECORD.format(inside)}; {then}"


_PASSES = ("passes", "run", "")
_SKIP_MARK = '<skipped message="a/b_test.cpp:7&#10;no such device"/>'

# name: ((protocol, shell script), the cases expected of it)
PROGRAMS = {
    "passes": (("exitcode", "exit 0"), [("", "passed", "")]),
    "fails": (("exitcode", "exit 3"), [("", "failed", "fail, exit status 3")]),
    "dies": (("exitcode", "kill -SEGV $$"), [("", "failed", "fail, exit status -11")]),
    "skips": (("exitcode", "echo first; echo no device; exit 77"), [("", "skipped", "no device")]),
    "tap-mixed": (
        ("tap", "echo ok 1 a; echo not ok 2 b; echo ok 3 c '#' SKIP no device; echo 1..3"),
        [("1 a", "passed", ""), ("2 b", "failed", ""), ("3 c", "skipped", "no device")],
    ),
    "gtest-mixed": (
        _gtest(
            _PASSES,
            ("fails", "run", '<failure message="a_test.cpp:9&#10;1 is not 2"/>'),
            ("skips", "run", _SKIP_MARK),
            ("off", "notrun", ""),
            then="exit 1",
        ),
        [
            ("Suite.passes", "passed", ""),
            ("Suite.fails", "failed", "1 is not 2"),
            ("Suite.skips", "skipped", "no such device"),
            ("Suite.off", "skipped", "disabled in its source"),
        ],
    ),
    "gtest-dies-after-its-last-case": (
        _gtest(_PASSES, then="kill -ABRT $$"),
        [("Suite.passes", "passed", ""), ("", "failed", "fail, exit status -6")],
    ),
    "gtest-dies-before": (("gtest", "exit 1"), [("", "failed", "fail, exit status 1")]),
    "gtest-empty": (_gtest(), [("", "failed", "holds no test case")]),
    "tap-empty": (("tap", "echo 1..0"), [("", "skipped", "1..0")]),
    "never-ran": (None, [("", "failed", "did not run")]),
}


def main():
    report = tap.Report()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        protocols = run_sample(folder)
        found = results.collect("sample", folder / "build", "dev", protocols)
    for program, (_, expected) in PROGRAMS.items():
        cases = [(case.name, case.status, case.reason) for case in found if case.test == program]
        wrong = [f"expected {expected}, found {cases}"] if cases != expected else []
        report.case(program, wrong)
    return report.finish()


def run_sample(folder):
    """Builds and runs the sample project. Returns {test: protocol}."""
    tests = []
    protocols = {}
    for name, (content, _) in PROGRAMS.items():
        protocols[name] = content[0] if content else "exitcode"
        if content:
            script = content[1].replace("\\", "\\\\").replace("'", "\\'")
            tests.append(f"  '{name}': ['{content[0]}', '{script}'],")
    (folder / "meson.build").write_text(_PROJECT.format(tests="\n".join(tests)))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    build = folder / "build"
    subprocess.run(["meson", "setup", build, folder], check=True, **quiet)
    subprocess.run(["meson", "test", "-C", build, "--logbase", "dev"], check=False, **quiet)
    return protocols


if __name__ == "__main__":
    sys.exit(main())
