# SPDX-License-Identifier: Apache-2.0
"""Runs resmgrctl on a resmgrd with two clients, and compares its manual with its --help.

Usage: resmgrctl_test.py RESMGRCTL RESMGRD CLIENT MANUAL
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import budget_check
import observation_check
import platform_check
import tap
from compare import differences

_VERBS = [
    "status",
    "list",
    "show",
    "holders",
    "waiters",
    "graph",
    "doctor",
    "snapshot",
    "policy check",
    "platform",
    "budget",
    "budget set",
    "stats",
    "bottlenecks",
    "health",
    "share",
    "revoke",
    "repair",
    "unpoison",
    "drain",
]
# No operator: the number of nobody, who has nothing to do with the daemon.
_NOBODY = 65534
_PATIENCE_S = 60


class Client:
    """A process that registers, acquires and releases as it is told."""

    def __init__(self, program, socket, driver):
        self._process = subprocess.Popen(
            [program, socket, driver], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def start(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self):
        return self._process.stdout.readline().strip()

    def do(self, line):
        self.start(line)
        answer = self.hear()
        if answer != "done":
            raise RuntimeError(f"{line}: {answer}")

    def kill(self):
        self._process.kill()
        self._process.wait()


class Domain:
    """A resmgrd of its own, and resmgrctl asked about it."""

    def __init__(self, resmgrctl, resmgrd, folder):
        self._resmgrctl = resmgrctl
        self.socket = str(folder / "test.sock")
        self._audit = folder / "audit.json"
        self._config = folder / "resmgrd.toml"
        self.write_config("")
        folder.chmod(0o755)
        self._log = folder / "log"
        with self._log.open("w") as log:
            self._daemon = subprocess.Popen(
                [resmgrd, "--socket", self.socket, "--config", str(self._config)], stderr=log
            )
        eventually(lambda: self.run("status").returncode == 0)

    def run(self, *words, where=None, user=None):
        where = ["--socket", self.socket] if where is None else where
        return subprocess.run(
            [self._resmgrctl, *words, *where],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            user=user,
        )

    def write_config(self, text):
        self._config.write_text(f'[log]\naudit = "{self._audit}"\n[[attach]]\n{text}')

    def reload(self):
        self._daemon.send_signal(signal.SIGHUP)

    def logged(self):
        return self._log.read_text()

    def reloads(self):
        return self._audit.read_text().count("policy_reloaded")

    def audited(self):
        """Returns the last line of the audit log about something that an operator does."""
        lines = [json.loads(line) for line in self._audit.read_text().splitlines()]
        return [line for line in lines if line["event"] in ("operated", "refused")][-1]

    def ask(self, *words, where=None):
        """Returns the JSON of a verb that has to succeed."""
        answer = self.run(*words, "--json", where=where)
        if answer.returncode != 0:
            raise RuntimeError(f"{words}: {answer.returncode}: {answer.stdout}{answer.stderr}")
        return json.loads(answer.stdout)

    def end(self):
        if self._daemon.poll() is None:
            self._daemon.send_signal(signal.SIGTERM)
        self._daemon.wait(_PATIENCE_S)


def eventually(condition):
    end = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("it did not happen")
        time.sleep(0.01)


def check_holders(domain, holder, where):
    found = domain.ask("holders", where=where)["holders"]
    if len(found) != 1:
        return [f"{len(found)} holders"]
    expected = {
        "resource": "frame/0",
        "driver": "camera",
        "pid": holder.pid,
        "kind": "exclusive",
        "process": "alive",
    }
    return differences(expected, found[0])


def check_waiters(domain, holder, waiter, where):
    found = domain.ask("waiters", "frame/0", where=where)["waiters"]
    if len(found) != 1:
        return [f"{len(found)} waiters"]
    expected = {"driver": "display", "pid": waiter.pid, "mode": "exclusive", "priority": "normal"}
    problems = differences(expected, found[0])
    blockers = found[0]["waits_for"]
    if len(blockers) != 1:
        return [*problems, f"waits for {blockers}"]
    return problems + differences(
        {"driver": "camera", "pid": holder.pid, "because": "holds"}, blockers[0]
    )


def check_status(domain, where):
    status = domain.ask("status", where=where)
    expected = {"holding": 1, "waiting": 1, "deadlocks": 0, "schema": 1, "layout": "1.0"}
    problems = differences(expected, status)
    problems += differences({"used": 2}, status["resources"])
    if not re.fullmatch(r"\d+\.\d+\.\d+", status["domain"]["daemon_version"]):
        problems.append(f"version {status['domain']['daemon_version']}")
    return problems


def check_list(domain, where):
    def names(*filters):
        return [r["name"] for r in domain.ask("list", *filters, where=where)["resources"]]

    return differences(
        {
            "all": ["frame/0", "frame/1"],
            "held": ["frame/0"],
            "waiting": ["frame/0"],
            "ready": ["frame/1"],
            "memory": ["frame/0", "frame/1"],
            "hardware": [],
            "of nobody": [],
        },
        {
            "all": names(),
            "held": names("--held"),
            "waiting": names("--waiting"),
            "ready": names("--state", "ready"),
            "memory": names("--type", "memory"),
            "hardware": names("--type", "hardware"),
            "of nobody": names("--driver", "nobody"),
        },
    )


def check_show(domain, holder, where):
    shown = domain.ask("show", "frame/0", where=where)["resource"]
    problems = differences(
        {"state": "locked", "owner": "camera", "owner_pid": holder.pid, "size_bytes": 4096}, shown
    )
    if len(shown["waiters"]) != 1 or len(shown["holders"]) != 1:
        problems.append(f"{len(shown['holders'])} holders, {len(shown['waiters'])} waiters")
    return problems


def check_graph(domain, where):
    edges = domain.ask("graph", where=where)["edges"]
    kinds = sorted(edge["kind"] for edge in edges)
    problems = [] if kinds == ["holds", "waits"] else [f"edges {kinds}"]
    dot = domain.run("graph", "--format", "dot", where=where).stdout
    if not dot.startswith("digraph") or '-> "resource frame/0"' not in dot:
        problems.append(dot)
    return problems


def check_doctor(domain, where):
    diagnosis = domain.ask("doctor", where=where)
    return differences({"healthy": True, "findings": [], "untold": []}, diagnosis)


def check_failures(domain, folder):
    other = folder / "other"
    other.write_text("not a snapshot")
    bad = folder / "bad.toml"
    bad.write_text("[domain]\nslots = 0\n")
    missing = ["--socket", str(folder / "missing.sock")]
    cases = {
        "no daemon": (["status"], missing, 2, "no resmgrd at"),
        "no such resource": (["show", "frame/9"], None, 2, "resmgrctl list"),
        "a foreign file": (["status"], ["--snapshot", str(other)], 2, "is no snapshot"),
        "a folder that is not there": (["snapshot", "/no/where"], None, 2, "No such file"),
        "no verb": ([], [], 2, "subcommand"),
        "an unknown state": (["list", "--state", "happy"], None, 2, "--state"),
        "a mistake": (["policy", "check", str(bad)], [], 1, f"{bad}:2:"),
        "an unknown profile": (["platform", "--profile", "huge"], [], 2, "--profile"),
        "no configuration": (["policy", "check", "/no/where"], [], 2, "/no/where"),
    }
    problems = []
    for name, (words, where, status, text) in cases.items():
        answer = domain.run(*words, where=where)
        said = answer.stderr + (answer.stdout if status == 1 else "")
        if answer.returncode != status or text not in said:
            problems.append(f"{name}: status {answer.returncode}, said {said!r}")
    return problems


def check_share(domain):
    shared = domain.ask("share", "frame/1", "encoder", "read,acquire")
    problems = differences({"driver": "encoder", "rights": ["acquire", "read"]}, shared)
    problems += differences(
        {
            "event": "operated",
            "uid": os.getuid(),
            "driver": "encoder",
            "resource": "frame/1",
            "detail": "share with rights 3: done",
        },
        domain.audited(),
    )
    shares = domain.ask("show", "frame/1")["resource"]["shares"]
    return problems + differences(
        {"shares": [("encoder", ["acquire", "read"])]},
        {"shares": [(each["driver"], each["rights"]) for each in shares]},
    )


def check_revoke(domain):
    said = domain.run("revoke", "frame/1", "encoder")
    problems = [] if "only the end of their process" in said.stdout else [said.stdout + said.stderr]
    domain.ask("share", "frame/1", "encoder", "all")
    domain.ask("share", "frame/1", "display", "read")
    revoked = domain.ask("revoke", "frame/1", "--all")
    problems += differences({"revoked": 2}, revoked)
    problems += differences({"drivers": {"encoder", "display"}}, {"drivers": set(revoked["drivers"])})
    problems += differences({"detail": "revoke of all drivers: done"}, domain.audited())
    return problems + differences({"shares": []}, domain.ask("show", "frame/1")["resource"])


def check_repair(domain, holder):
    problems = differences({"repaired": []}, domain.ask("repair", "frame/1"))
    problems += differences({"event": "operated", "detail": "repair: done"}, domain.audited())
    holder.do("damage frame/1")
    problems += differences({"repaired": ["latch"]}, domain.ask("repair", "frame/1"))
    return problems + differences({"repaired": []}, domain.ask("repair", "frame/1"))


def check_unpoison(domain, holder):
    holder.do("quarantine frame/1")
    problems = differences({"unpoisoned": True}, domain.ask("unpoison", "frame/1"))
    problems += differences({"detail": "unpoison: done"}, domain.audited())
    holder.do("try frame/1")
    holder.do("release")
    return problems


def check_drain(domain, holder, user):
    """Of what the holder owns, the user has one."""
    user.do("try frame/1")
    answer = domain.run("drain", "camera", "--timeout", "0", "--json")
    drain = json.loads(answer.stdout)
    problems = differences({"drained": False, "resources": 2}, drain)
    problems += differences({"status": 1}, {"status": answer.returncode})
    problems += differences(
        {"resource": "frame/1", "driver": "display", "pid": user.pid},
        drain["holders"][0] if drain["holders"] else {},
    )
    problems += differences({"detail": "drain: done", "driver": "camera"}, domain.audited())
    holder.start("acquire frame/0")
    if "quarantined" not in holder.hear():
        problems.append("it was acquired, or waited for")
    notes = [note["check"] for note in domain.ask("doctor")["notes"]]
    problems += differences({"notes": ["drained", "drained"]}, {"notes": notes})
    user.do("release")
    problems += differences({"drained": True, "holders": []}, domain.ask("drain", "camera"))
    problems += differences({"resources": 2}, domain.ask("drain", "camera", "--cancel"))
    holder.do("try frame/0")
    holder.do("release")
    return problems


def check_strangers(domain):
    """Who is no operator changes nothing, and that he tried is written down."""
    if os.getuid() != 0:
        raise tap.Skip("needs root, to be somebody else")
    problems = []
    for words in (
        ["share", "frame/1", "encoder", "read"],
        ["revoke", "frame/1", "--all"],
        ["repair", "frame/1"],
        ["unpoison", "frame/1"],
        ["drain", "camera"],
        ["drain", "camera", "--cancel"],
    ):
        answer = domain.run(*words, user=_NOBODY)
        if answer.returncode != 2 or "[operators]" not in answer.stderr:
            problems.append(f"{words}: {answer.returncode}: {answer.stderr}")
        audited = domain.audited()
        problems += differences({"event": "refused", "uid": _NOBODY}, audited)
        if not audited["detail"].startswith(("cancel " if "--cancel" in words else "") + words[0]):
            problems.append(f"{words}: {audited}")
    shown = domain.ask("show", "frame/1")["resource"]
    return problems + differences({"shares": [], "drained": False}, shown)


def check_reload(domain):
    """Keeper and worker have the same policy, and mistakes are told once."""
    before = domain.reloads()
    domain.write_config("[operators]\nusers = 7\n")
    domain.reload()
    eventually(lambda: "the old policy stays" in domain.logged())
    domain.write_config(f"[operators]\nusers = [{_NOBODY}]\n")
    domain.reload()
    eventually(lambda: domain.reloads() > before)
    problems = differences({"reloads": before + 1}, {"reloads": domain.reloads()})
    problems += differences({"told": 1}, {"told": domain.logged().count("resmgrd.toml:5:")})
    if os.getuid() == 0:
        answer = domain.run("repair", "frame/1", user=_NOBODY)
        problems += differences({"status": 0}, {"status": answer.returncode})
    return problems


def check_refusals(domain):
    cases = {
        "no such resource": (["repair", "frame/9"], "resmgrctl list"),
        "no such right": (["share", "frame/1", "encoder", "reed"], "no right"),
        "nobody to revoke from": (["revoke", "frame/1"], "--all"),
        "a stranger to revoke from": (["revoke", "frame/1", "encoder"], "resmgrctl show frame/1"),
        "the owner itself": (["share", "frame/1", "camera", "read"], "the owner"),
        "nothing to unpoison": (["unpoison", "frame/1"], "resmgrctl show frame/1"),
        "no such driver": (["drain", "nobody"], "resmgrctl list"),
        "no drain to cancel": (["drain", "camera", "--cancel"], "not being drained"),
    }
    problems = []
    for name, (words, text) in cases.items():
        answer = domain.run(*words)
        if answer.returncode != 2 or text not in answer.stderr:
            problems.append(f"{name}: status {answer.returncode}, said {answer.stderr!r}")
    return problems


def options_of_help(resmgrctl, verb):
    text = subprocess.run(
        [resmgrctl, *verb.split(), "--help"], capture_output=True, text=True, check=True
    ).stdout
    return set(re.findall(r"^\s+(--[a-z-]+)", text, re.MULTILINE)) - {"--help"}


def options_of_manual(text):
    """Returns {verb: its options} of the manual's subsections of VERBS."""
    section = text.split(".Sh VERBS", 1)[1].split("\n.Sh ", 1)[0]
    found = {}
    for part in section.split("\n.Ss ")[1:]:
        verb = re.sub(r"( \[?[A-Z]+\]?)+$", "", part.splitlines()[0])
        found[verb] = {"-" + option for option in re.findall(r"^\.It Fl (-\S+)", part, re.M)}
    return found


def compare_manual(resmgrctl, text):
    top = subprocess.run([resmgrctl, "--help"], capture_output=True, text=True, check=True).stdout
    listed = re.findall(r"^  ([a-z]+) ", top.split("Subcommands:", 1)[1], re.MULTILINE)
    first_words = list(dict.fromkeys(verb.split()[0] for verb in _VERBS))
    problems = differences({"verbs": first_words}, {"verbs": listed})
    manual = options_of_manual(text)
    problems += differences({"verbs": _VERBS}, {"verbs": list(manual)})
    for verb in _VERBS:
        problems += differences(
            {verb: options_of_help(resmgrctl, verb)}, {verb: manual.get(verb, set())}
        )
    return problems


def compare_checks(sources, text):
    """The manual's list of findings is that of the checks."""
    section = text.split(".Sh FINDINGS", 1)[1].split("\n.Sh ", 1)[0]
    items = " ".join(re.findall(r"^\.It (.*)", section, re.MULTILINE))
    told = set(re.findall(r"\b[a-z]+(?:-[a-z]+)+\b", items))
    code = "".join(path.read_text() for path in sources)
    made = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', code))
    return [f"only in the manual: {name}" for name in told - made] + [
        f"not in the manual: {name}" for name in made - told
    ]


def main():
    resmgrctl, resmgrd, client, manual = sys.argv[1:5]
    report = tap.Report()
    text = pathlib.Path(manual).read_text()
    report.run("the manual tells the options that --help does", compare_manual, resmgrctl, text)
    sources = sorted(pathlib.Path(manual).parents[1].glob("doctor_*.cpp"))
    report.run("the manual tells the checks that there are", compare_checks, sources, text)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        domain = Domain(resmgrctl, resmgrd, folder)
        stack.callback(domain.end)
        holder = Client(client, domain.socket, "camera")
        stack.callback(holder.kill)
        waiter = Client(client, domain.socket, "display")
        stack.callback(waiter.kill)
        holder.do("register frame/0")
        holder.do("register frame/1")
        holder.do("acquire frame/0")
        waiter.start("acquire frame/0")
        eventually(lambda: domain.ask("waiters")["waiters"])
        saved = folder / "saved"
        domain.ask("snapshot", str(saved), "--between", "1")
        for source, where in {"live": None, "saved": ["--snapshot", str(saved)]}.items():
            report.run(f"{source}: status", check_status, domain, where)
            report.run(f"{source}: list", check_list, domain, where)
            report.run(f"{source}: show", check_show, domain, holder, where)
            report.run(f"{source}: holders", check_holders, domain, holder, where)
            report.run(f"{source}: waiters", check_waiters, domain, holder, waiter, where)
            report.run(f"{source}: graph", check_graph, domain, where)
            report.run(f"{source}: doctor", check_doctor, domain, where)
            report.run(f"{source}: stats", observation_check.check_stats, domain, where)
            report.run(f"{source}: bottlenecks", observation_check.check_bottlenecks, domain, holder, where)
            report.run(f"{source}: health", observation_check.check_health, domain, where)
        report.run("platform", platform_check.check_platform, domain)
        report.run("what can't be done says why", check_failures, domain, folder)
        holder.do("release")
        report.case("the waiter got it", [] if waiter.hear() == "done" else ["it did not"])
        found = domain.ask("holders")["holders"]
        problems = differences({"pid": waiter.pid}, found[0] if found else {})
        report.case("and is the holder", problems)
        report.run("what it waited is counted", observation_check.check_waited, domain, waiter)
        waiter.do("release")
        report.run("share", check_share, domain)
        report.run("revoke", check_revoke, domain)
        report.run("repair", check_repair, domain, holder)
        report.run("drain", check_drain, domain, holder, waiter)
        report.run("budget", budget_check.check_budget, domain)
        report.run("who is no operator", check_strangers, domain)
        report.run("what operators are refused", check_refusals, domain)
        report.run("a configuration that is read anew", check_reload, domain)
        report.run("unpoison", check_unpoison, domain, holder)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
