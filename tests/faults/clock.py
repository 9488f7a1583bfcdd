"""``python -m search`` whose clock goes back an hour once a file is there: ``clock.py FILE run STUDY.toml``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

HOUR_S = 3600
_time, _time_ns = time.time, time.time_ns
flag, *arguments = sys.argv[1:]


def shift_s() -> int:
    return HOUR_S if Path(flag).exists() else 0


time.time = lambda: _time() - shift_s()
time.time_ns = lambda: _time_ns() - shift_s() * 1_000_000_000

if __name__ == "__main__":
    from search.cli import main

    sys.argv = ["mlp-search", *arguments]
    sys.exit(main())
