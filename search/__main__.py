"""``python -m search`` is ``mlp-search``."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs a command; the exit code is 130 where Ctrl-C comes before its imports have ended, as it is later."""
    try:
        from search.cli.app import main as run

        return run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
