"""mlp-search on real tables: a search of a preset, its finalists, and the held-out rows read once."""

from __future__ import annotations

import json
import time
from pathlib import Path

from peers.table_rows import parse_options

import search


def main() -> None:
    options, started, home = parse_options(), time.time(), Path("home").absolute()
    given = {"target": options.target, "timeout_s": options.seconds, "split_seed": options.seed}
    spec = search.default_spec(str(options.table), preset=options.name, **given)
    search.run_study(spec, home=home)
    search.run_finalists(spec.name, top=3, seeds=3, ensemble=True, home=home)
    result = search.evaluate(spec.name, home=home)
    metrics = {name: found.value for name, found in result.evaluation.metrics.items()}
    options.output.write_text(json.dumps({**metrics, "seconds": time.time() - started}))


if __name__ == "__main__":
    main()
