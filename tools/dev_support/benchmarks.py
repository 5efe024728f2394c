# SPDX-License-Identifier: Apache-2.0
"""`tools/dev bench`: runs the programs of tests/bench and gathers what they measured.

Each program takes `--json FILE` and `--filter REGEX`, and writes a list of
objects {name, value, unit, peer, peer_value, ratio}; the peer's fields are
null where there is none, and the ratio is ours / peer.
"""

import json
import pathlib
import subprocess
import tempfile

import console
import packages
import setups

_FIELDS = ("name", "value", "unit", "peer", "peer_value", "ratio")


def main(arguments):
    packages.ensure(packages.BENCH)
    programs = _build()
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        for program in programs:
            measured += _run(program, pathlib.Path(folder) / "result.json", arguments.filter)
    if not measured:
        raise console.Failure("nothing was measured: the filter matches no benchmark")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(measured, indent=2) + "\n")
    _print_table(measured)
    return 0


def _build():
    """Builds the release set-up's benchmarks and returns their paths."""
    setup = setups.RELEASE
    with console.Step("release: configure", log="release-configure.log") as step:
        setup.configure(step)
    home = str(console.ROOT / "tests" / "bench")
    programs = [
        pathlib.Path(target["filename"][0])
        for target in setup.introspect("targets")
        if target["type"] == "executable" and target["defined_in"].startswith(home)
    ]
    programs = sorted(program for program in programs if program.name.startswith("bench_"))
    if not programs:
        raise console.Failure("this tree has no benchmarks")
    setup.build([program.relative_to(setup.folder) for program in programs])
    return programs


def _run(program, output, pattern):
    """Runs one program, whose own output goes to the terminal. Returns its results."""
    command = [program, "--json", output]
    if pattern:
        command += ["--filter", pattern]
    console.note(f"{program.name} ...")
    status = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
    if status != 0:
        raise console.Failure(f"{program.name} ended with status {status}")
    if not output.exists():
        return []
    results = json.loads(output.read_text())
    output.unlink()
    return [{field: result.get(field) for field in _FIELDS} for result in results]


def _print_table(measured):
    rows = [("name", "value", "unit", "peer", "peer value", "ratio")]
    rows += [tuple(_shown(result[field]) for field in _FIELDS) for result in measured]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _shown(value):
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
