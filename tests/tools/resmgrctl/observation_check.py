# SPDX-License-Identifier: Apache-2.0
"""Checks what resmgrctl tells of a domain as a whole: stats, bottlenecks, health."""

import json

from compare import differences


def check_stats(domain, where):
    stats = domain.ask("stats", where=where)["statistics"]
    rows = {(row["type"], row["driver"]): row for row in stats}
    if len(rows) != 2 or {driver for _, driver in rows} != {None, "camera"}:
        return [f"rows {list(rows)}"]
    problems = []
    for row in stats:
        expected = {"current": 2, "peak": 2, "created": 2, "destroyed": 0, "held": 1, "waiting": 1}
        expected |= {"acquisitions": 1, "success_rate": 1.0}
        problems += differences(expected, row)
        problems += differences({"granted": 0, "would_block": 0, "p99_ns": 0}, row["waits"])
    none = domain.ask("stats", "--type", "performance", where=where)["statistics"]
    return problems + differences({"rows": []}, {"rows": none})


def check_bottlenecks(domain, holder, where):
    worst = domain.ask("bottlenecks", "--most", "5", where=where)["bottlenecks"]
    if len(worst) != 1:
        return [f"{len(worst)} of them"]
    expected = {"resource": "frame/0", "owner": "camera", "waits": 0, "waiting": 1, "blamed": None}
    problems = differences(expected, worst[0])
    problems += differences({"driver": "camera", "pid": holder.pid}, worst[0]["holder"])
    return problems if worst[0]["waited_ns"] > 0 else [*problems, "it cost nothing"]


def check_health(domain, where):
    problems = []
    for patience, status, text in ("3600000", 0, "ok"), ("0", 1, "degraded"):
        answer = domain.run("health", "--long-wait", patience, "--json", where=where)
        health = json.loads(answer.stdout)
        problems += differences({"status": text, "exit": status},
                                {"status": health["status"], "exit": answer.returncode})
        codes = [reason["code"] for reason in health["reasons"]]
        problems += differences({"codes": ["long-wait"] if status else []}, {"codes": codes})
        told = domain.run("health", "--long-wait", patience, where=where).stdout
        if told.splitlines()[-1] != text:
            problems.append(f"said {told!r}")
    return problems


def check_waited(domain, waiter):
    """After the wait was granted."""
    row = domain.ask("stats", "--driver", "camera")["statistics"][0]
    problems = differences({"acquisitions": 2, "contention": 0.5}, row)
    problems += differences({"granted": 1}, row["waits"])
    waits = row["waits"]
    if not 0 < waits["average_ns"] == waits["p50_ns"] == waits["longest_ns"]:
        problems.append(f"waits {waits}")
    worst = domain.ask("bottlenecks")["bottlenecks"][0]
    problems += differences({"waits": 1, "waiting": 0, "waited_ns": waits["granted_ns"]}, worst)
    problems += differences({"driver": "camera"}, worst["blamed"])
    return problems + differences({"pid": waiter.pid}, worst["holder"])
