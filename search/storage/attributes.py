"""Keys of the attributes that Optuna keeps for a study and its trials."""

from __future__ import annotations

SPEC, ELAPSED, FINGERPRINT, FACTS = "spec", "elapsed_s", "dataset.fingerprint", "facts"
"""Attributes of a study: its specification, the seconds its runs took, what it is trained on, and where."""


RESULT, RUN_ID, PRUNED_AT = "result", "run_id", "would_be_pruned_at"
"""Attributes of a trial: what training it came to, its run in MLflow, the epoch at which an audited one was spared."""


REQUEUED = "parked"
"""Attribute of a trial: it was in training before."""
