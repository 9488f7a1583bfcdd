"""The rule of each value in a study file: the sentence that an error states, and its check."""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pipelines import config
from pipelines.errors import SpecError
from pipelines.objectives import OBJECTIVES, Loss, Task
from search.spec.defaults import PRESETS
from search.spec.space import KERAS_LEARNING_RATES

Sampler = Literal["tpe", "random", "grid", "gp", "cmaes"]
Pruner = Literal["hyperband", "asha", "median", "none"]
Budget = Literal["search", "auto"]


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule for a value.

    Attributes:
        text: The rule as an error states it: "must be ...".
        types: The types of a valid value. With ``float``, whole numbers become floats: 0 and 0.0 are one value, but
            two distributions and two JSONs.
        holds: Whether a value of these types keeps the rule.
        names: The valid values, for a closed set of names.
        required: Whether its table must have it.
    """

    text: str
    types: tuple[type, ...]
    holds: Callable[[Any], bool] = lambda _: True
    names: tuple[str, ...] = ()
    required: bool = False

    def allows(self, value: object) -> bool:
        """Whether a value keeps the rule; true and false are no numbers."""
        return isinstance(value, self.types) and isinstance(value, bool) == (bool in self.types) and self.holds(value)


def whole_number(low: int, high: int) -> Rule:
    """An integer from ``low`` to ``high``."""
    return Rule(f"must be a whole number from {low} to {high}", (int,), lambda value: low <= value <= high)


def as_count(value: object, place: str) -> int:
    """Returns a number of things that Python code gave, NumPy's numbers as Python's.

    Raises:
        SpecError: It is no whole number, or below 1.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise SpecError(f"{place}: must be a whole number, got {value!r}")
    if (count := operator.index(value)) < 1:
        raise SpecError(f"{place}: must be at least 1, got {count}")
    return count


def number(what: str, holds: Callable[[float], bool]) -> Rule:
    """A finite number for which ``holds`` is true."""
    return Rule(f"must be {what}", (int, float), lambda value: abs(value) <= sys.float_info.max and holds(value))


def one_of(names: tuple[str, ...]) -> Rule:
    """A closed set of names."""
    return Rule(f"must be one of {', '.join(names)}", (str,), lambda value: value in names, names)


def list_of(what: str, allows: Callable[[str], bool]) -> Rule:
    """A list of texts."""
    rule = f"must be a list of {what}"
    return Rule(rule, (list,), lambda value: all(isinstance(text, str) and allows(text) for text in value))


def is_filled(text: str) -> bool:
    """Whether a text has characters, all of them printable."""
    return text != "" and text.isprintable()


def is_name(text: str) -> bool:
    """Whether a study may have this name: folders, URLs and shells must take it unchanged."""
    return 1 <= len(text) <= 200 and text.isprintable() and re.search(r"^[ .-]| $|[/\\]", text) is None


NAME_RULE = (
    "must be 1 to 200 printable characters without a slash or backslash, "
    'not beginning with a space, "." or "-" nor ending with a space'
)
_GPU_LIST = r" *[\w-]+ *(, *[\w-]+ *)*,? *"

COUNT = whole_number(1, 2**31 - 1)
SEED = whole_number(0, 2**32 - 1)
SECONDS = number("a number of seconds > 0", lambda value: value > 0)
POSITIVE = number("a number > 0", lambda value: value > 0)
NOT_NEGATIVE = number("a number >= 0", lambda value: value >= 0)
BELOW_1 = number("a number from 0 to below 1", lambda value: 0 <= value < 1)
UP_TO_1 = number("a number from 0 to 1", lambda value: 0 <= value <= 1)
SHARE = number("a number between 0 and 1, both excluded", lambda value: 0 < value < 1)
BOOL = Rule("must be true or false", (bool,))
GPUS = Rule(
    'must be a number of GPUs, or a list of their indexes or UUIDs such as "0,2"',
    (int, str),
    lambda value: bool(re.fullmatch(_GPU_LIST, value)) if isinstance(value, str) else 0 <= value <= 1024,
)
TRIALS_PER_GPU = Rule(
    'must be a whole number >= 1, or "auto"', (int, str), lambda value: value == "auto" or value in range(1, 1025)
)

# The rule of each hyperparameter's value: alone, in a list, or as an end of a range.
VALUES = {
    "width": COUNT,
    "depth": COUNT,
    "dropout": BELOW_1,
    "optimizer": one_of(tuple(KERAS_LEARNING_RATES)),
    "learning_rate": POSITIVE,
    "schedule": one_of(get_args(config.Schedule)),
    "epochs": COUNT,
    "batch_size": COUNT,
    "loss": one_of(get_args(Loss)),
    "class_weight": one_of(get_args(config.ClassWeight)),
    "activation": one_of(get_args(config.Activation)),
    "normalization": one_of(get_args(config.Normalization)),
    "input_dropout": BELOW_1,
    "noise": UP_TO_1,
    "weight_decay": NOT_NEGATIVE,
    "max_norm": NOT_NEGATIVE,
    "label_smoothing": BELOW_1,
    "shape": one_of(get_args(config.Shape)),
    "residual": BOOL,
    "ema": BELOW_1,
    "warmup": BELOW_1,
    "momentum": BELOW_1,
    "gradient_clip": NOT_NEGATIVE,
    "shift": whole_number(0, 1024),
    "flip": BOOL,
    "embedding": one_of(get_args(config.Embedding)),
}

_SOURCE = "must be digits, mnist, fashion_mnist or the path of a .npz, .csv, .tsv or .parquet file"
_COLUMN = Rule("must be the name of a column", (str,), bool)  # a header may hold line breaks or other unprintable ones
_COLUMNS = list_of('column names such as ["id"]', bool)
_STUDIES = list_of('names of studies such as ["digits"]', is_name)
TABLES: dict[str, dict[str, Rule]] = {
    "study": {"name": Rule(NAME_RULE, (str,), is_name), "seed": SEED, "trials": COUNT, "timeout_s": SECONDS},
    "data": {
        "source": Rule(_SOURCE, (str,), is_filled, required=True),
        "target": _COLUMN,
        "validation_fraction": SHARE,
        "test_fraction": SHARE,
        "scaling": one_of(get_args(config.Scaling)),
        "split_seed": SEED,
        "text_columns": _COLUMNS,
        "numeric": _COLUMNS,
        "ignore": _COLUMNS,
        "duplicates": one_of(get_args(config.Duplicates)),
        "group": _COLUMN,
        "weight": _COLUMN,
        "time": _COLUMN,
        "split": _COLUMN,
        "task": one_of(("auto", *get_args(Task))),
        "target_transform": one_of(get_args(config.Transform)),
        "folds": whole_number(1, config.MAX_FOLDS),
        "group_draw": one_of(get_args(config.GroupDraw)),
    },
    "space": {"preset": one_of(tuple(PRESETS))} | VALUES,
    "search": {
        "objective": one_of(tuple(OBJECTIVES)),
        "sampler": one_of(get_args(Sampler)),
        "pruner": one_of(get_args(Pruner)),
        "audit": UP_TO_1,
        "budget": one_of(get_args(Budget)),
        "like": _STUDIES,
        "deterministic": BOOL,
        "virtual_slots": COUNT,
        "keep_models": COUNT,
    },
    "workers": {
        "slots": COUNT,
        "trial_timeout_s": SECONDS,
        "memory_mb": COUNT,
        "gpus": GPUS,
        "trials_per_gpu": TRIALS_PER_GPU,
        "precision": one_of(get_args(config.AskedPrecision)),
    },
    "start": VALUES,
}
