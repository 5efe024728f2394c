# SPDX-License-Identifier: Apache-2.0
"""Checks the Promela models: a table of runs, each with what is expected of it.

A run passes if the search was complete and found nothing, or, for a control that
removes one rule of the protocol, if it broke the rule that the control is about.

    python3 run_models.py                       all runs of the ci tier
    python3 run_models.py --tier full           the long ones
    python3 run_models.py --filter 'control'    those whose name matches
    python3 run_models.py --list                the table, for meson.build

The exit status is 0 if every run did what is expected of it, 1 otherwise, and 77
(skipped) without spin or a C compiler.
"""

import argparse
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import runs

_FOLDER = pathlib.Path(__file__).resolve().parent
_SKIPPED = 77
_MAX_DEPTH = 100_000


def main():
    arguments = _parse_arguments()
    chosen = [
        run
        for run in runs.TABLE
        if (arguments.tier == "all" or run.tier == arguments.tier)
        and re.search(arguments.filter, run.name)
        and (arguments.only is None or run.name == arguments.only)
    ]
    if arguments.list:
        for run in chosen:
            print(run.tier, run.name, run.seconds)
        return 0
    missing = [tool for tool in ("spin", arguments.cc) if shutil.which(tool) is None]
    if missing:
        print(f"skipped: not installed: {', '.join(missing)}")
        return _SKIPPED
    if not chosen:
        print("no such run")
        return 1
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        pending = [pool.submit(_check, run, arguments) for run in chosen]
        good = 0
        for future in concurrent.futures.as_completed(pending):
            line, ok = future.result()
            good += ok
            print(line, flush=True)
    print(f"{good} of {len(chosen)} runs as expected")
    return 0 if good == len(chosen) else 1


def _parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tier", choices=("ci", "full", "all"), default="ci")
    parser.add_argument("--filter", default="", metavar="REGEX", help="runs whose name matches")
    parser.add_argument("--only", metavar="NAME", help="the run of this name")
    parser.add_argument("--list", action="store_true", help="print the runs and end")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--cc", default="gcc", help="compiler of the verifiers")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a run that fails")
    arguments = parser.parse_args()
    if arguments.only is not None:
        arguments.tier = "all"
    return arguments


def _check(run, arguments):
    """Executes one run. Returns its line and whether it did what is expected."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="model-"))
    start = time.monotonic()
    try:
        verdict, states, ok = _verify(run, folder, arguments.cc)
    except (subprocess.SubprocessError, OSError) as error:
        output = getattr(error, "output", None) or ""
        verdict, states, ok = f"broken: {error}\n{output}".rstrip(), 0, False
    seconds = time.monotonic() - start
    line = f"{'ok  ' if ok else 'FAIL'} {run.name:<34} {states:>11,} states {seconds:7.1f} s  {verdict}"
    if not ok and arguments.keep:
        line += f"\n     kept in {folder}: spin -t -p -g -k {run.model}.pml.trail"
    else:
        shutil.rmtree(folder)
    return line, ok


def _verify(run, folder, cc):
    """Returns the verdict in words, the number of states, and whether it is the right one."""
    defines = [f"-D{define}" for define in run.defines]
    _call(["spin", "-a", *defines, _FOLDER / f"{run.model}.pml"], folder)
    flags = ["-DNP"] if run.cycles else ["-DSAFETY"]
    flags += ["-DNOFAIR", f"-DMEMLIM={run.megabytes}"]
    # A short search takes less time than optimising it.
    flags += ["-O0" if run.breaks else "-O1" if run.tier == "ci" else "-O2"]
    flags += ["-DHC4" if run.hash_compact else "-DCOLLAPSE"]
    _call([cc, "-w", *flags, "-o", "pan", "pan.c"], folder)
    search = ["-l"] if run.cycles else []
    search += ["-E", f"-m{_MAX_DEPTH}", f"-w{run.hash_bits}"]
    found = _call(["./pan", *search], folder, check=False)

    states = re.search(r"(\d+) states, stored", found)
    states = int(states[1]) if states else 0
    broken = re.search(r"^pan:\d+: (.*?) \(at depth", found, re.MULTILINE)
    broken = broken[1].removeprefix("assertion violated ") if broken else None
    if broken is None:
        if "errors: 0" not in found or "Search not completed" in found or "max search depth" in found:
            return f"search not complete:\n{found}", states, False
        verdict = "nothing found" if run.breaks else "holds"
        return verdict, states, run.breaks is None
    if run.breaks is None:
        return f"broken: {broken}", states, False
    if not re.fullmatch(run.breaks, broken):
        return f"breaks {broken} instead of {run.breaks}", states, False
    return f"breaks {broken}", states, True


def _call(command, folder, check=True):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if check and done.returncode != 0:
        raise subprocess.CalledProcessError(done.returncode, command[0], done.stdout)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
