# SPDX-License-Identifier: Apache-2.0
"""What resmgrctl tells of the machine that it runs on."""

import os
import re


def check_platform(domain):
    """Whatever this machine has, all of it is told, and each profile."""
    told = domain.ask("platform", where=[])
    platform = told["platform"]
    problems = []
    if not 0 < platform["memory_bytes"] <= platform["physical_bytes"]:
        problems.append(f"memory {platform['memory_bytes']} of {platform['physical_bytes']}")
    if platform["processors"] != len(os.sched_getaffinity(0)):
        problems.append(f"{platform['processors']} processors")
    if told["profile"]["name"] not in ("tiny", "small", "medium", "large"):
        problems.append(f"profile {told['profile']['name']}")
    for name in ("tiny", "small", "medium", "large", "static"):
        profile = domain.ask("platform", "--profile", name, where=[])["profile"]
        if profile["name"] != name or profile["allocates_at_start"] != (name == "static"):
            problems.append(f"{name}: {profile}")
    memory = platform["memory_bytes"]
    budget = told["profile"]["budgets"]["memory"]
    if not 0.59 < budget["max"] / memory < 0.61 or not 0.09 < budget["reserved"] / memory < 0.11:
        problems.append(f"budget {budget} of {memory}")
    slots = told["profile"]["capacities"]["slots"]
    text = domain.run("platform", where=[]).stdout
    if not re.search(rf"^  slots +{slots}$", text, re.MULTILINE):
        problems.append(text)
    return problems
