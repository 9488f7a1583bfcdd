"""One budget for trials and seeds: a search, then its finalists by successive rejects."""

from search.automatic.run_auto import AutomaticResult, run_automatically
