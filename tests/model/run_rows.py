# SPDX-License-Identifier: Apache-2.0
"""What a row of the table of runs is."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Run:
    name: str
    model: str
    defines: tuple
    # Rules of which one must be broken (a regular expression), None if all must hold.
    breaks: str | None = None
    tier: str = "ci"
    # Looks for cycles as well: none means that nothing goes round for ever.
    cycles: bool = False
    # States by a 64-bit hash of each: less memory, no longer quite a proof.
    hash_compact: bool = False
    megabytes: int = 2000
    hash_bits: int = 20
    # Time limit for meson, generous.
    seconds: int = 900


def runs_of(model):
    """Returns what makes a row of this model."""

    def make(name, defines, **more):
        return Run(f"{model}-{name}", model, tuple(defines.split()), **more)

    return make


def full(make, name, defines, **more):
    """A row of the long tier: more memory, and more time."""
    return make(name, defines, tier="full", megabytes=8000, hash_bits=24, seconds=7200, **more)


def control(make, name, breaks, defines, **more):
    """One rule removed. HARM_ONLY leaves out what only asks for tidiness."""
    if "TIDY" in defines:
        defines = defines.replace("TIDY", "")
    else:
        defines += " HARM_ONLY"
    return make(f"control-{name}", defines, breaks=breaks, **more)
