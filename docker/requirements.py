"""Prints what the image installs: the package's dependencies and extras, with TensorFlow's build for CPUs.

Without the extra ``gpu`` the general build is 600 MB of code for a GPU that is not there.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(extras: list[str]) -> list[str]:
    """The requirements of ``pyproject.toml`` with some of its extras."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    if unknown := set(extras) - set(optional):
        sys.exit(f"EXTRAS: must be some of {', '.join(optional)}, got {', '.join(sorted(unknown))}")
    lines = [line for extra in extras for line in optional[extra]] + project["dependencies"]
    if "gpu" in extras:
        return lines
    return [line.replace("tensorflow>", "tensorflow-cpu>") for line in lines]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(sys.argv[1].split(","))) + "\n")
