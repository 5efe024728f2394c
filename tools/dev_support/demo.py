# SPDX-License-Identifier: Apache-2.0
"""`tools/dev demo`: the drivers at work on a real file."""

import os
import sys

import console
import packages
import setups

_PROGRAM = "tools/demo/resmgr-demo"
_LIBRARY = "hal/libhal.so"


def main(arguments):
    packages.ensure(packages.BUILD)
    setup = setups.RELEASE
    # The demo may be asked for one JSON object: nothing else goes to its output.
    out = sys.stdout
    sys.stdout = sys.stderr
    try:
        with console.Step("release: configure", log="release-configure.log") as step:
            setup.configure(step)
        setup.build([_PROGRAM])
    finally:
        sys.stdout = out

    rest = arguments.rest
    if not any(word == "--input" or word.startswith("--input=") for word in rest):
        rest = ["--input", str((setup.folder / _LIBRARY).resolve()), *rest]
    program = str(setup.folder / _PROGRAM)
    os.execv(program, [program, *rest])
