# SPDX-License-Identifier: Apache-2.0
"""Runs the demo on small files and reads what it says of them.

Usage: demo_test.py DEMO
"""

import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import tap

# 16 pixels of four bytes are a line without padding.
_WIDTH, _HEIGHT = 16, 4
FRAME = _WIDTH * _HEIGHT * 4
SHAPE = ["--width", str(_WIDTH), "--height", str(_HEIGHT)]
FAST = ["--rate", "0", "--hiccups", "0"]

_REQUIRED = {
    "frames": int,
    "bytes": int,
    "crc_ok": bool,
    "leaks": int,
    "acquire_ns_p50": int,
    "acquire_ns_p99": int,
    "bytes_per_second": (int, float),
    "contended": int,
    "longest_wait_ns": int,
}

# name: (bytes in the file, options, frames expected, bytes expected)
_RUNS = {
    "an empty file has no frames": (0, [], 0, 0),
    "an empty file stays empty however often it starts over": (0, ["--frames", "9"], 0, 0),
    "one byte is one frame": (1, [], 1, 1),
    "one byte less than a frame": (FRAME - 1, [], 1, FRAME - 1),
    "exactly one frame": (FRAME, [], 1, FRAME),
    "one byte more than a frame": (FRAME + 1, [], 2, FRAME + 1),
    "more frames than the pool has": (37 * FRAME + 5, [], 38, 37 * FRAME + 5),
    "the smallest pool": (37 * FRAME, ["--pool", "3"], 37, 37 * FRAME),
    "a pool larger than the file": (5 * FRAME, ["--pool", "64"], 5, 5 * FRAME),
    "fewer frames than the file has": (5 * FRAME, ["--frames", "2"], 2, 2 * FRAME),
    "more frames than the file has": (FRAME + 1, ["--frames", "5"], 5, 3 * FRAME + 2),
    "no frames at all": (FRAME, ["--frames", "0"], 0, 0),
    "paced by the timer": (5 * FRAME, ["--rate", "2000"], 5, 5 * FRAME),
    "a checker that is often late": (20 * FRAME, ["--hiccups", "50"], 20, 20 * FRAME),
}

# name: (options, a word of the message)
_REFUSED = {
    "a file that does not exist": (["--input", "/nonexistent/file"], "/nonexistent/file: No such"),
    "a folder": (["--input", "/"], "Is a directory"),
    "an option that it does not have": (["--frobnicate"], "--frobnicate"),
    "a negative number": (["--frames", "-1"], "--frames"),
    "a word for a number": (["--rate", "fast"], "--rate"),
    "a pool of two": (["--pool", "2"], "--pool"),
    "a frame without pixels": (["--width", "0"], "--width"),
    "a frame to corrupt that never comes": (["--corrupt-frame", "8"], "frame 8 of 1"),
}


def main():
    demo = pathlib.Path(sys.argv[1])
    report = tap.Report()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for case, (size, options, frames, length) in _RUNS.items():
            report.run(case, runs_well, demo, sample(folder, size), options, frames, length)
        report.run("a byte that flips is found", finds_corruption, demo, sample(folder, 7 * FRAME))
        report.run("a byte that flips in a part of a frame", finds_corruption_in_part, demo, folder)
        for case, (options, word) in _REFUSED.items():
            report.run("refuses " + case, refuses, demo, sample(folder, 1), options, word)
        report.run("refuses a pipe", refuses_pipe, demo)
        report.run("refuses output that can't be written", refuses_full_output, demo)
        report.run("shows both refusals", shows_refusals, demo, sample(folder, FRAME))
        report.run("explains them in words", explains_refusals, demo, sample(folder, FRAME))
        report.run("reports when it is interrupted", reports_when_interrupted, demo)
    return report.finish()


def sample(folder, size):
    """Returns a file of that size, each piece of which has a CRC of its own."""
    path = folder / f"{size}-bytes"
    path.write_bytes(b"".join(n.to_bytes(4, "little") for n in range(size // 4 + 1))[:size])
    return path


def run(demo, *options, **where):
    command = [str(part) for part in (demo, *options)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **where}
    return subprocess.run(
        command, stdin=streams.pop("stdin", subprocess.DEVNULL), text=True, check=False, **streams
    )


def run_json(demo, path, *options):
    """Returns the status and the object that the demo printed."""
    done = run(demo, "--json", "--input", path, *SHAPE, *FAST, *options)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError as error:
        raise AssertionError(f"{error}: {done.stdout!r} {done.stderr!r}") from error


def differences(expected, found):
    return [f"{key}: {found.get(key)!r}, not {value!r}" for key, value in expected.items()
            if found.get(key) != value]


def missing(said):
    return [f"{key} is missing or odd" for key, kind in _REQUIRED.items()
            if not isinstance(said.get(key), kind)]


def runs_well(demo, path, options, frames, length):
    status, said = run_json(demo, path, *options)
    expected = {"frames": frames, "bytes": length, "crc_ok": True, "leaks": 0,
                "frame_bytes": FRAME, "wrong_frames": 0, "reports": []}
    problems = differences(expected, said) + missing(said)
    if said.get("acquire_ns_p50", 0) > said.get("acquire_ns_p99", 0):
        problems.append("p50 is above p99")
    return problems + ([f"status {status}"] if status != 0 else [])


def finds_corruption(demo, path):
    status, said = run_json(demo, path, "--corrupt-frame", "5")
    expected = {"frames": 7, "crc_ok": False, "wrong_frames": 1, "leaks": 0}
    problems = differences(expected, said) + ([f"status {status}"] if status != 1 else [])
    wrong = said["first_wrong"][0] if said.get("first_wrong") else {}
    problems += differences({"frame": 5, "offset": 5 * FRAME, "bytes": FRAME}, wrong)
    # The byte flips behind the engine's back: engine and file agree, the buffer does not.
    if wrong.get("file_crc32c") != wrong.get("engine_crc32c"):
        problems.append("the engine is blamed")
    if wrong.get("file_crc32c") == wrong.get("buffer_crc32c"):
        problems.append("the buffer is not blamed")
    return problems


def finds_corruption_in_part(demo, folder):
    status, said = run_json(demo, sample(folder, 1), "--corrupt-frame", "0")
    expected = {"frames": 1, "crc_ok": False, "wrong_frames": 1, "leaks": 0}
    return differences(expected, said) + ([f"status {status}"] if status != 1 else [])


def refuses(demo, path, options, word):
    return not_refused(run(demo, "--json", "--input", path, *FAST, *options), word)


def not_refused(done, word):
    problems = [f"status {done.returncode}"] if done.returncode != 2 else []
    if done.stdout:
        problems.append(f"it printed {done.stdout!r}")
    if word not in done.stderr:
        problems.append(f"it said {done.stderr!r}")
    return problems


def refuses_pipe(demo):
    writer = subprocess.Popen(["echo", "once"], stdout=subprocess.PIPE)
    with writer:
        done = run(demo, "--json", "--input", "/dev/stdin", stdin=writer.stdout)
    return not_refused(done, "only once")


def refuses_full_output(demo):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = run(demo, "--json", *FAST, "--frames", "1", stdout=full)
    problems = [f"status {done.returncode}"] if done.returncode != 2 else []
    return problems + ([] if "written" in done.stderr else [f"it said {done.stderr!r}"])


def shows_refusals(demo, path):
    status, said = run_json(demo, path, "--show-deadlock")
    problems = differences({"leaks": 0, "reports": []}, said)
    deadlock, order = said.get("deadlock", {}), said.get("lock_order", {})
    problems += differences({"refused": True, "code": "Deadlock"}, deadlock)
    problems += differences({"refused": True, "code": "OrderViolation"}, order)
    cycle = {(party["driver"], party["waits_for"]) for party in deadlock.get("cycle", [])}
    if cycle != {("camera", "encoder0/frame"), ("encoder", "camera0/frame")}:
        problems.append(f"the cycle is {cycle}")
    places = re.findall(r"refusals\.cpp:(\d+)", order.get("message", ""))
    if len(set(places)) != 2:
        problems.append(f"the order names {places}, not both places")
    return problems + ([f"status {status}"] if status != 0 else [])


def explains_refusals(demo, path):
    done = run(demo, "--input", path, *SHAPE, *FAST, "--show-deadlock")
    wanted = [
        "camera holds camera0/frame and asks for encoder0/frame",
        "was refused before it could wait for ever",
        "waits for camera0/frame, which camera holds",
        "refused, though nobody was in the way",
        "leaks      none",
    ]
    missing = [f"does not say: {words}" for words in wanted if words not in done.stdout]
    # Where no terminal is, no line is written over.
    odd = ["it writes over lines"] if "\r" in done.stdout or "\x1b" in done.stdout else []
    return missing + odd + ([f"status {done.returncode}"] if done.returncode != 0 else [])


def reports_when_interrupted(demo):
    command = [str(demo), "--input", "/dev/zero", *SHAPE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as endless:
        # The line before the frames start to move.
        for line in endless.stdout:
            if line.startswith("stream"):
                break
        endless.send_signal(signal.SIGINT)
        rest = endless.stdout.read()
    problems = [f"status {endless.returncode}"] if endless.returncode != 0 else []
    return problems + [f"does not say: {words}" for words in ("(interrupted)", "leaks      none")
                       if words not in rest]


if __name__ == "__main__":
    sys.exit(main())
