"""Wrong study files, and the error lines of each."""

from __future__ import annotations

import tomllib
from dataclasses import fields

import pytest

from pipelines.config import Hyperparameters
from pipelines.errors import SpecError
from pipelines.objectives import OBJECTIVES
from search.spec.reading import spec_from_dict

MNIST = '[data]\nsource = "mnist"\n'
COUNT = "must be a whole number from 1 to 2147483647"
RATE = "must be a number > 0"
SHARE = "must be a number between 0 and 1, both excluded"
OPTIMIZERS = "must be one of sgd, rmsprop, adam, adamw, adagrad, adadelta, adamax, nadam, ftrl, lion"
LEFT_OUT = "must be given, because the space does not fix it"
NAME = (
    "must be 1 to 200 printable characters without a slash or backslash, "
    'not beginning with a space, "." or "-" nor ending with a space'
)
SOURCE = "must be digits, mnist, fashion_mnist or the path of a .npz, .csv, .tsv or .parquet file"
GRID = "must be a value, a list or a range with a step for the grid sampler, got a range without a step"
NAMES = ", ".join(field.name for field in fields(Hyperparameters))

# Each file without its [data] table, and every error line.
WRONG = {
    "trials-text": ('[study]\ntrials = "64"', [f'study.trials: {COUNT}, got "64"']),
    "trials-zero": ("[study]\ntrials = 0", [f"study.trials: {COUNT}, got 0"]),
    "trials-bool": ("[study]\ntrials = true", [f"study.trials: {COUNT}, got true"]),
    "trials-huge": (f"[study]\ntrials = {10**30}", [f"study.trials: {COUNT}, got {10**30}"]),
    "trials-date": ("[study]\ntrials = 2026-01-02", [f'study.trials: {COUNT}, got "2026-01-02"']),
    "timeout-zero": ("[study]\ntimeout_s = 0", ["study.timeout_s: must be a number of seconds > 0, got 0"]),
    "timeout-nan": ("[study]\ntimeout_s = nan", ["study.timeout_s: must be a number of seconds > 0, got nan"]),
    "timeout-inf": ("[study]\ntimeout_s = inf", ["study.timeout_s: must be a number of seconds > 0, got inf"]),
    "seed-negative": ("[study]\nseed = -1", ["study.seed: must be a whole number from 0 to 4294967295, got -1"]),
    "name-slash": ('[study]\nname = "a/b"', [f'study.name: {NAME}, got "a/b"']),
    "name-backslash": ("[study]\nname = 'a\\b'", [f'study.name: {NAME}, got "a\\\\b"']),
    "name-newline": ('[study]\nname = "a\\nb"', [f'study.name: {NAME}, got "a\\nb"']),
    "name-control": ('[study]\nname = "a\\u009bm"', [f'study.name: {NAME}, got "a\\x9bm"']),
    "name-empty": ('[study]\nname = ""', [f'study.name: {NAME}, got ""']),
    "name-dots": ('[study]\nname = ".."', [f'study.name: {NAME}, got ".."']),
    "name-space": ('[study]\nname = "a "', [f'study.name: {NAME}, got "a "']),
    "name-option": ('[study]\nname = "-x"', [f'study.name: {NAME}, got "-x"']),
    "name-long": (f'[study]\nname = "{"n" * 201}"', [f'study.name: {NAME}, got "{"n" * 56}...']),
    "unknown-table": ("[serach]\nseed = 1", ["serach: unknown key; did you mean search?"]),
    "key-outside": ("seed = 1", ["seed: unknown key; did you mean study.seed?"]),
    "key-elsewhere": ('[study]\nsampler = "tpe"', ["study.sampler: unknown key; did you mean search.sampler?"]),
    "key-far-off": (
        "[workers]\nqqq = 1",
        ["workers.qqq: unknown key; valid are slots, trial_timeout_s, memory_mb, gpus, trials_per_gpu, precision"],
    ),
    "gpus": (
        '[workers]\ngpus = "0;1"\ntrials_per_gpu = "many"',
        [
            'workers.gpus: must be a number of GPUs, or a list of their indexes or UUIDs such as "0,2", got "0;1"',
            'workers.trials_per_gpu: must be a whole number >= 1, or "auto", got "many"',
        ],
    ),
    "gpus-negative": (
        "[workers]\ngpus = -1\ntrials_per_gpu = 0",
        [
            'workers.gpus: must be a number of GPUs, or a list of their indexes or UUIDs such as "0,2", got -1',
            'workers.trials_per_gpu: must be a whole number >= 1, or "auto", got 0',
        ],
    ),
    "key-escaped": (
        '[study]\n"a\\u001bb\\nc" = 1',
        [r"study.a\x1bb\nc: unknown key; valid are name, seed, trials, timeout_s"],
    ),
    "table-is-value": ("search = 3", ["search: must be a table, got 3"]),
    "space-is-list": ("space = [1]", ["space: must be a table, got [1]"]),
    "space-empty": ("[space]", ["space: must name a dimension, got {}; leave [space] out for the classic preset"]),
    "unknown-dimension": (
        "[space]\nlearning_rat = 0.1",
        ["space.learning_rat: unknown key; did you mean learning_rate?"],
    ),
    "list-empty": ("[space]\nwidth = []", ["space.width: must hold at least one value and none twice, got []"]),
    "list-twice": (
        "[space]\ndropout = [0, 0.5, 0.0]",
        ["space.dropout: must hold at least one value and none twice, got [0, 0.5, 0.0]"],
    ),
    "list-element": (
        "[space]\nwidth = [32, 0, true]",
        [f"space.width[1]: {COUNT}, got 0", f"space.width[2]: {COUNT}, got true"],
    ),
    "range-inverted": ("[space]\nwidth = { low = 64, high = 32 }", ["space.width.high: must be >= low = 64, got 32"]),
    "range-empty": ("[space]\ndepth = {}", ["space.depth.low: must be given", "space.depth.high: must be given"]),
    "range-typo": (
        "[space]\ndepth = { low = 1, hihg = 2 }",
        ["space.depth.high: must be given", "space.depth.hihg: unknown key; did you mean high?"],
    ),
    "range-log-zero": (
        "[space]\nlearning_rate = { low = 0, high = 1, log = true }",
        [f"space.learning_rate.low: {RATE}, got 0"],
    ),
    "range-log-zero-dropout": (
        "[space]\ndropout = { low = 0, high = 0.5, log = true }",
        ["space.dropout.low: must be > 0 when log = true, got 0"],
    ),
    "range-log-text": (
        '[space]\ndepth = { low = 1, high = 2, log = "yes" }',
        ['space.depth.log: must be true or false, got "yes"'],
    ),
    "range-log-step": (
        "[space]\nwidth = { low = 8, high = 64, log = true, step = 8 }",
        ["space.width.step: must be left out when log = true, got 8"],
    ),
    "range-step-zero": ("[space]\nwidth = { low = 8, high = 64, step = 0 }", [f"space.width.step: {COUNT}, got 0"]),
    "range-step-wide": (
        "[space]\ndropout = { low = 0.25, high = 0.5, step = 1 }",
        ["space.dropout.step: must be at most high - low = 0.25 and at least a millionth of it, got 1"],
    ),
    "range-step-tiny": (
        "[space]\ndropout = { low = 0.25, high = 0.5, step = 1e-300 }",
        ["space.dropout.step: must be at most high - low = 0.25 and at least a millionth of it, got 1e-300"],
    ),
    "range-nan": ("[space]\nlearning_rate = { low = nan, high = 1 }", [f"space.learning_rate.low: {RATE}, got nan"]),
    "range-inf": ("[space]\nlearning_rate = { low = 1, high = inf }", [f"space.learning_rate.high: {RATE}, got inf"]),
    "range-of-names": (
        "[space]\noptimizer = { low = 1, high = 2 }",
        [f'space.optimizer: {OPTIMIZERS}, got {{"low": 1, "high": 2}}'],
    ),
    "dropout-one": ("[space]\ndropout = 1.0", ["space.dropout: must be a number from 0 to below 1, got 1.0"]),
    "dropout-negative": (
        "[space]\ndropout = { low = -0.1, high = 0.5 }",
        ["space.dropout.low: must be a number from 0 to below 1, got -0.1"],
    ),
    "optimizer-case": (
        '[space]\noptimizer = "Adam"',
        [f'space.optimizer: {OPTIMIZERS}, got "Adam"; did you mean adam?'],
    ),
    "optimizer-typo": (
        '[space]\noptimizer = ["adam", "rmsporp"]',
        [f'space.optimizer[1]: {OPTIMIZERS}, got "rmsporp"; did you mean rmsprop?'],
    ),
    "schedule": (
        '[space]\nschedule = "linear"',
        ['space.schedule: must be one of constant, cosine, onecycle, got "linear"'],
    ),
    "sampler": (
        '[search]\nsampler = "TPE"',
        ['search.sampler: must be one of tpe, random, grid, gp, cmaes, got "TPE"; did you mean tpe?'],
    ),
    "pruner": (
        '[search]\npruner = "hyperbnad"',
        ['search.pruner: must be one of hyperband, asha, median, none, got "hyperbnad"; did you mean hyperband?'],
    ),
    "objective": (
        '[search]\nobjective = "accuracy"',
        [f'search.objective: must be one of {", ".join(OBJECTIVES)}, got "accuracy"; did you mean val_accuracy?'],
    ),
    "slots": ("[workers]\nslots = 0", [f"workers.slots: {COUNT}, got 0"]),
    "trial-timeout": (
        "[workers]\ntrial_timeout_s = -1.5",
        ["workers.trial_timeout_s: must be a number of seconds > 0, got -1.5"],
    ),
    "cmaes-choices": (
        '[search]\nsampler = "cmaes"\n[space]\nwidth = [8, 16]\ndepth = { low = 2, high = 2 }',
        ['search.sampler: must not be "cmaes" without a range in the space, got "cmaes"; use "tpe"'],
    ),
    "grid-continuous": (
        '[search]\nsampler = "grid"\n[space]\ndropout = { low = 0.0, high = 0.5 }\nwidth = [8, 16]',
        [f"space.dropout: {GRID}"],
    ),
    "grid-default-space": ('[search]\nsampler = "grid"', [f"space.dropout: {GRID}", f"space.learning_rate: {GRID}"]),
    "grid-huge": (
        '[search]\nsampler = "grid"\n[space]\nepochs = { low = 1, high = 200000 }',
        ["space: must hold at most 100000 configurations for the grid sampler, got 200000; give the ranges a step"],
    ),
    "too-many-weights": (
        "[space]\nwidth = { low = 8, high = 100000 }\ndepth = [1, 2]",
        [
            "space.width: must keep a network at 2,147,483,648 weights or fewer, got 10,000,300,000 "
            "with width 100000 and depth 2, 40 GB of memory; lower one"
        ],
    ),
    "start-not-list": ("[start]", ["start: must be a list of tables, each headed [[start]], got {}"]),
    "start-outside": (
        "[space]\nwidth = { low = 8, high = 64, step = 8 }\n[[start]]\nwidth = 16\n[[start]]\nwidth = 20",
        ["start[1].width: must be from 8 to 64 in steps of 8, as in the space, got 20"],
    ),
    "start-against-fixed": (
        '[space]\nwidth = [8, 16]\n[[start]]\nwidth = 8\noptimizer = "sgd"\nlearning_rate = 0.5',
        [
            'start[0].optimizer: must be adam, as in the space, got "sgd"',
            "start[0].learning_rate: must be 0.01, as in the space, got 0.5",
        ],
    ),
    "start-default-outside": (
        "[space]\nlearning_rate = { low = 0.01, high = 0.1 }\nschedule = ['cosine']\n[[start]]",
        [
            "start[0].learning_rate: must be from 0.01 to 0.1, as in the space, got 0.001, the default",
            'start[0].schedule: must be one of cosine, as in the space, got "constant", the default',
        ],
    ),
    "start-missing": (
        "[[start]]\nwidth = 64\nepochs = 10",
        [f"start[0].{name}: {LEFT_OUT}" for name in ("depth", "dropout", "optimizer", "learning_rate", "batch_size")],
    ),
    "start-types": (
        '[[start]]\nwidth = "64"\ncells = 3',
        [f'start[0].width: {COUNT}, got "64"', f"start[0].cells: unknown key; valid are {NAMES}"],
    ),
}

WRONG_DATA = {
    "no-data": ("[study]\nname = 'x'", ["data.source: must be given"]),
    "source-empty": ('[data]\nsource = ""', [f'data.source: {SOURCE}, got ""']),
    "source-list": ('[data]\nsource = ["mnist"]', [f'data.source: {SOURCE}, got ["mnist"]']),
    "fractions": (
        '[data]\nsource = "mnist"\nvalidation_fraction = 1\ntest_fraction = 0.0',
        [f"data.validation_fraction: {SHARE}, got 1", f"data.test_fraction: {SHARE}, got 0.0"],
    ),
    "scaling": (
        '[data]\nsource = "mnist"\nscaling = "min-max"',
        [
            "data.scaling: must be one of auto, minmax, standard, robust, quantile, none,"
            ' got "min-max"; did you mean minmax?'
        ],
    ),
    "unnamable": (
        '[data]\nsource = "data/.csv"',
        [f'study.name: must be given, because the source\'s name breaks the rule: {NAME}, got ".csv"'],
    ),
    "name-beside-an-unnamable-source": (
        '[study]\nname = "-bad"\n[data]\nsource = "data/.csv"',
        [f'study.name: {NAME}, got "-bad"'],
    ),
    "starts-one-by-one": (
        f"{MNIST}\n[space]\nwidth = [16, 32]\n[[start]]\nwidth = 64\n[[start]]\ndepth = 0\n[[start]]\nwidth = 16",
        ["start[1].depth: " + COUNT + ", got 0", "start[0].width: must be one of 16, 32, as in the space, got 64"],
    ),
    "clock-beside-a-wrong-space": (
        f'{MNIST}\n[space]\nwidth = "x"\n[search]\ndeterministic = false\nvirtual_slots = 4',
        [
            f'space.width: {COUNT}, got "x"',
            "search.virtual_slots: must be left out with deterministic = false, which has no virtual clock",
        ],
    ),
    "task-beside-wrong-folds": (
        f'{MNIST}\ntask = "classification"\nfolds = 0\n[search]\nobjective = "val_rmse"\naudit = 2',
        [
            "data.folds: must be a whole number from 1 to 100, got 0",
            "search.audit: must be a number from 0 to 1, got 2",
            'data.task: must be regression for val_rmse, got "classification"',
        ],
    ),
    "everything-at-once": (
        '[study]\ntrials = "64"\nSEED = 1\n[data]\n[space]\nwidth = []\n[search]\nsampler = "x"\n[[start]]\ndepth = 0',
        [
            f'study.trials: {COUNT}, got "64"',
            "study.SEED: unknown key; did you mean seed?",
            "data.source: must be given",
            "space.width: must hold at least one value and none twice, got []",
            'search.sampler: must be one of tpe, random, grid, gp, cmaes, got "x"',
            f"start[0].depth: {COUNT}, got 0",
        ],
    ),
}

CASES = {key: (f"{text}\n{MNIST}", lines) for key, (text, lines) in WRONG.items()} | WRONG_DATA


@pytest.mark.parametrize(("text", "lines"), CASES.values(), ids=CASES)
def test_every_problem_of_a_document_has_its_line(text, lines):
    with pytest.raises(SpecError) as caught:
        spec_from_dict(tomllib.loads(text), "study.toml")
    assert list(caught.value.problems) == [f"study.toml, {line}" for line in lines]
    assert all(line.isprintable() for line in caught.value.problems)
