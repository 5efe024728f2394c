# SPDX-License-Identifier: Apache-2.0
"""Runs the demo with its drivers in processes of their own, and kills more of them than it does.

Usage: served_test.py DEMO RESMGRD
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import tap
from demo_test import FAST, FRAME, SHAPE, differences, missing, not_refused, run, run_json, sample

# name: (bytes in the file, options, frames expected, bytes expected, whether there is one to kill at)
_RUNS = {
    "a file of many frames": (37 * FRAME + 5, [], 38, 37 * FRAME + 5, 1),
    "one frame, during which the driver dies": (1, [], 1, 1, 1),
    "the smallest pool": (37 * FRAME, ["--pool", "3"], 37, 37 * FRAME, 1),
    "the largest pool": (70 * FRAME, ["--pool", "64"], 70, 70 * FRAME, 1),
    "more frames than the file has": (FRAME + 1, ["--frames", "5"], 5, 3 * FRAME + 2, 1),
    "paced by the timer": (9 * FRAME, ["--rate", "2000"], 9, 9 * FRAME, 1),
    "a checker that is often late": (20 * FRAME, ["--hiccups", "50"], 20, 20 * FRAME, 1),
    "an empty file has no frames": (0, [], 0, 0, 0),
}


def main():
    demo, daemon = (pathlib.Path(path) for path in sys.argv[1:3])
    served = ["--served", "--resmgrd", str(daemon)]
    report = tap.Report()
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        # Where resmgrd's folder is made; its name in their command lines tells which are ours.
        home = folder / "home"
        home.mkdir()
        os.environ["TMPDIR"] = str(home)

        def case(name, check, *arguments):
            report.run(name, left_clean, home, check, demo, served, *arguments)

        for name, (size, options, frames, length, killed) in _RUNS.items():
            path = sample(folder, size)
            case(name, runs_well, path, options, frames, length, killed)
        path = sample(folder, 7 * FRAME)
        case("a byte that flips is found", finds_corruption, path, 5)
        case("a byte that flips in the frame that is sent twice", finds_corruption, path, 3)
        case("says what happens", explains, path)
        case("refuses a resmgrd that does not exist", refuses_no_daemon, path)
        case("reports when it is interrupted", reports_when_interrupted)
        for role, word in {"checker": "checker: ", "timer driver": "timer driver "}.items():
            case(f"tells of a {role} that dies", tells_of_death, home, role, word)
        case("leaves no process behind when it is killed", dies_with_all, home)
    return report.finish()


def processes(home):
    """Returns {pid: words} of the processes whose command lines name the folder."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(str(home) in word for word in words):
            found[int(path.parent.name)] = words
    return found


def left_clean(home, check, *arguments):
    """The problems of `check`, and what it left behind."""
    problems = check(*arguments)
    # What a killed demo leaves ends soon, not at once.
    for _ in range(1000):
        left = processes(home)
        if not left:
            break
        time.sleep(0.01)
    problems += [f"still runs: {' '.join(words)}" for words in left.values()]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return problems


def folders(home):
    return [f"still there: {path.name}" for path in home.iterdir()]


def runs_well(demo, served, path, options, frames, length, killed):
    status, said = run_json(demo, path, *served, *options)
    expected = {"frames": frames, "bytes": length, "crc_ok": True, "leaks": 0, "leak_lines": [],
                "frame_bytes": FRAME, "wrong_frames": 0, "reports": [],
                "served": True, "killed": killed}
    problems = differences(expected, said)
    problems += missing(said)
    if (said.get("recovered_ns", 0) > 0) != bool(killed):
        problems.append(f"recovered_ns: {said.get('recovered_ns')!r}")
    problems += folders(pathlib.Path(os.environ["TMPDIR"]))
    return problems + ([f"status {status}"] if status != 0 else [])


def finds_corruption(demo, served, path, frame):
    status, said = run_json(demo, path, *served, "--corrupt-frame", str(frame))
    expected = {"frames": 7, "crc_ok": False, "wrong_frames": 1, "leaks": 0, "killed": 1}
    problems = differences(expected, said)
    wrong = said["first_wrong"][0] if said.get("first_wrong") else {}
    problems += differences({"frame": frame, "offset": frame * FRAME}, wrong)
    if wrong.get("file_crc32c") != wrong.get("engine_crc32c"):
        problems.append("the engine is blamed")
    if wrong.get("file_crc32c") == wrong.get("buffer_crc32c"):
        problems.append("the buffer is not blamed")
    return problems + ([f"status {status}"] if status != 1 else [])


def explains(demo, served, path):
    done = run(demo, "--input", path, *SHAPE, *FAST, *served)
    wanted = ["resmgrd    pid ", "by SIGKILL, with frame 3 under way",
              "its channel was usable again after", "frame 3 is sent once more",
              "agree on every frame", "leaks      none"]
    missing = [f"does not say: {words}" for words in wanted if words not in done.stdout]
    odd = [f"it said {done.stderr!r}"] if done.stderr else []
    return missing + odd + ([f"status {done.returncode}"] if done.returncode != 0 else [])


def refuses_no_daemon(demo, _, path):
    done = run(demo, "--json", "--input", path, "--served", "--resmgrd", "/no/resmgrd")
    return not_refused(done, "resmgrd: there is no such program")


def endless(demo, served, **options):
    command = [str(demo), "--input", "/dev/zero", *SHAPE, *served]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def await_word(running, word):
    for line in running.stdout:
        if line.startswith(word):
            return


def reports_when_interrupted(demo, served):
    with endless(demo, served) as running:
        await_word(running, "restart")
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()
    problems = [f"status {running.returncode}"] if running.returncode != 0 else []
    return problems + [f"does not say: {words}" for words in ("(interrupted)", "leaks      none")
                       if words not in rest]


def tells_of_death(demo, served, home, role, word):
    """A process that the demo did not kill itself."""
    with endless(demo, served, stderr=subprocess.PIPE) as running:
        await_word(running, "restart")
        victims = [pid for pid, words in processes(home).items() if role in words]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        running.send_signal(signal.SIGINT)
        said = running.stdout.read() + running.stderr.read()
    problems = [f"{len(victims)} processes are {role}"] if len(victims) != 1 else []
    if running.returncode == 0:
        problems.append("status 0")
    return problems + ([f"it said {said!r}"] if word not in said else [])


def dies_with_all(demo, served, home):
    with endless(demo, served) as running:
        await_word(running, "restart")
        count = len(processes(home))
        running.kill()
    # resmgrd is two.
    return [f"{count} processes"] if count != 5 else []


if __name__ == "__main__":
    sys.exit(main())
