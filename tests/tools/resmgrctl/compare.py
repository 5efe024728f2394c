# SPDX-License-Identifier: Apache-2.0
"""What was expected, beside what was found."""


def differences(expected, found):
    """Returns a line for each key of `expected` that `found` has not, or with another value."""
    return [
        f"{key}: {found.get(key)!r}, expected {value!r}"
        for key, value in expected.items()
        if found.get(key) != value
    ]
