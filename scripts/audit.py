"""Audits the pinned dependencies with pip-audit: exit code 1 where a vulnerability is known.

Not every index serves advisories, and there may be no network: packages without an answer are reported as not audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
TIMEOUT_S = 120


def main() -> int:
    """Audits the lock file."""
    options = ["--requirement", str(LOCK), "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner=off"]
    command = [sys.executable, "-m", "pip_audit", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        found = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError) as error:
        sys.stdout.write(f"audit: NOT AUDITED, no advisories could be read ({type(error).__name__})\n")
        return 0
    bad = [(one, known) for one in found for known in one.get("vulns", ())]
    for one, known in bad:
        fixed = ", ".join(known["fix_versions"]) or "no version yet"
        sys.stdout.write(f"audit: {one['name']} {one['version']}: {known['id']}, fixed in {fixed}\n")
    n_skipped = sum("skip_reason" in one for one in found)
    n_read = len(found) - n_skipped
    sys.stdout.write(f"audit: {n_read} packages audited, {n_skipped} NOT AUDITED, {len(bad)} known vulnerabilities\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
