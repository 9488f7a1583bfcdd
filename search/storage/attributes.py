"""Keys of the attributes that Optuna's database holds for a study and its trials."""

from __future__ import annotations

# Of a study: its specification, the seconds that its runs took, the timeout that ended the last of them, the
# fingerprint of its dataset, and facts about the data and the machine for the report.
SPEC = "spec"
ELAPSED = "elapsed_s"
TIMED_OUT = "timed_out_s"
FINGERPRINT = "dataset.fingerprint"
FACTS = "facts"

# Of a study: whether its networks train in float32, in bfloat16, or by their sizes; without it in float32.
PRECISION = "precision"

# Of a study: the slots of its virtual clock; without it the study has none. Of a trial: when it begins on that clock,
# how long it takes there before its first epoch, and how long an epoch takes, in microseconds.
VIRTUAL_SLOTS = "virtual_slots"
VIRTUAL = "virtual_us"

# Of a study that is like earlier ones: how many of its first starts are configurations of these; without it all are.
LIKED = "liked_starts"

# Of a study: the verdict of its finalists, each reading of its held-out test, and the last decision of the gate.
VERDICT = "finalists"
SEAL = "seal"
GATE = "gate"

# Of a study whose budget is shared between trials and seeds: what was decided when its search ended, and the time that
# its finals took.
CHANGED_OVER = "changed_over"
FINALS_ELAPSED = "finals_elapsed_s"

# Of a trial: its result, its run in MLflow, the epoch at which an audited trial would have been pruned, and whether it
# was in training before and waits again.
RESULT = "result"
RUN_ID = "run_id"
PRUNED_AT = "would_be_pruned_at"
REQUEUED = "parked"  # existing databases have this key

# Of a trial: parts of its result as attributes of their own, so that Optuna's dashboard has a column for each. The
# standard deviation of the objective over folds, and the origin of the configuration, are columns too.
COLUMNS = ("best_epoch", "epochs_trained", "duration_s", "device", "stop_reason")
STD, ORIGIN = "std", "origin"

# Of a trial, attributes of Optuna's own: the configuration that it was enqueued with, the number of its point in a
# grid, and, followed by the number of a rung of successive halving, its value there.
ENQUEUED = "fixed_params"
GRID_POINT = "grid_id"
RUNG = "completed_rung_"

# Of a study: the record of a run that is no trial, followed by the run's name.
RECORD = "run:"


def run_id_key(run: str | int) -> str:
    """Key of a study's attribute: the MLflow run of a run name, or of the number of a trial that has ended."""
    return f"{RUN_ID}:{run}"
