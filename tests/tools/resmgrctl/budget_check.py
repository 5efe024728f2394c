# SPDX-License-Identifier: Apache-2.0
"""What 'budget' shows, and what 'budget set' changes."""

from compare import differences


def check_budget(domain):
    """A limit is set, holds, is shown, and goes again."""

    def row():
        found = [
            budget
            for budget in domain.ask("budget", "--driver", "camera")["budgets"]
            if budget["type"] == "memory"
        ]
        return found[0] if found else {}

    used = row()["used"]
    problems = differences({"max": None, "pressure": "low"}, row())
    words = ["budget", "set", "memory", f"{used + 64}", "--driver", "camera", "--reserved", "64"]
    problems += differences({"driver": "camera", "max": used + 64}, domain.ask(*words))
    problems += differences(
        {"used": used, "max": used + 64, "reserved": 64, "pressure": "critical"}, row()
    )
    problems += differences({"max": None}, domain.ask(*words[:3], "unlimited", *words[4:6]))
    problems += differences({"max": None}, row())
    for words, said in {
        ("budget", "set", "memory", "1", "--reserved", "2"): "invalid argument",
        ("budget", "set", "memory", "much"): "much",
        ("budget", "--driver", "nobody"): "resmgrctl budget",
    }.items():
        answer = domain.run(*words)
        if answer.returncode != 2 or said not in answer.stderr:
            problems.append(f"{words}: {answer.returncode}: {answer.stderr}")
    return problems
