#!/usr/bin/env python3
"""Runs one command of Holdpoint, in an environment that it makes by itself.

This file must be readable by Pythons that are too old to run the project: no annotations, no f-strings.
"""

import os
import sys

NEEDED = (3, 11)


def too_old(version):
    """One line for a Python that is too old, else nothing."""
    if tuple(version[:2]) >= NEEDED:
        return ""
    found = ".".join(str(part) for part in version[:3])
    return (
        "Holdpoint needs Python 3.11 or newer, this is "
        + found
        + ": install a newer one (Debian: apt-get install python3.11), then run python3.11 manage.py."
    )


def main():
    """Checks the Python, completes the environment, and hands over to Django."""
    complaint = too_old(sys.version_info)
    if complaint:
        sys.exit(complaint)
    root = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, root)
    from config import bootstrap

    bootstrap.run(sys.argv, root)


if __name__ == "__main__":
    main()
