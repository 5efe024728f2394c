# SPDX-License-Identifier: Apache-2.0
"""`tools/dev demo`: the drivers at work on a real file."""

import os
import sys

import console
import packages
import setups

_PROGRAM = "tools/demo/resmgr-demo"
_DAEMON = "resmgr/daemon/resmgrd"
_LIBRARY = "hal/libhal.so"


def main(arguments):
    packages.ensure(packages.BUILD)
    setup = setups.RELEASE
    rest = arguments.rest
    served = "--served" in rest
    # The demo may be asked for one JSON object: nothing else goes to its output.
    out = sys.stdout
    sys.stdout = sys.stderr
    try:
        with console.Step("release: configure", log="release-configure.log") as step:
            setup.configure(step)
        setup.build([_PROGRAM, *([_DAEMON] if served else [])])
    finally:
        sys.stdout = out

    if served:
        rest = ["--resmgrd", str(setup.folder / _DAEMON), *rest]
    if not any(word == "--input" or word.startswith("--input=") for word in rest):
        rest = ["--input", str((setup.folder / _LIBRARY).resolve()), *rest]
    program = str(setup.folder / _PROGRAM)
    os.execv(program, [program, *rest])
