# SPDX-License-Identifier: Apache-2.0
"""Command line of tools/dev. Each verb installs what it misses, builds, and runs."""

import argparse
import os
import sys

import benchmarks
import console
import demo
import packages
import setups
import style
import testing


def build(_arguments):
    packages.ensure(packages.BUILD)
    setups.RELEASE.build()
    return 0


def parser():
    top = argparse.ArgumentParser(prog="tools/dev", description=__doc__, allow_abbrev=False)
    verbs = top.add_subparsers(metavar="VERB", required=True)

    def verb(name, action, text, **options):
        added = verbs.add_parser(name, help=text, description=text, **options)
        added.set_defaults(action=action)
        return added

    # Its arguments are the demo's own, --help among them.
    verb("demo", demo.main, "run the demo; arguments go to it", add_help=False)

    added = verb("test", testing.main, "build, and run the tests for every change")
    added.add_argument("--full", action="store_true", help="also clang, and all long runs")
    added.add_argument("--filter", metavar="REGEX", help="only tests whose name matches")

    added = verb("bench", benchmarks.main, "measure against peers")
    added.add_argument("--json", metavar="FILE", help="write the measurements to FILE")
    added.add_argument("--filter", metavar="REGEX", help="only measurements whose name matches")

    verb("build", build, "build the release set-up, in build/release")
    verb("lint", style.lint, "check the format (clang-format) and the code (clang-tidy)")
    verb("format", style.format_files, "format the sources in place")
    verb("help", lambda _arguments: top.print_help() or 0, "show this")
    return top


def main():
    top = parser()
    arguments, rest = top.parse_known_args()
    if arguments.action is demo.main:
        arguments.rest = rest
    elif rest:
        top.error("unknown arguments: " + " ".join(rest))
    try:
        return arguments.action(arguments)
    except console.Failure as failure:
        console.note(str(failure))
        return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # The conventional status of a program ended by SIGINT.
        os._exit(130)
