"""The study file that ``mlp-search init`` writes: every key with its default, and what else it may be."""

from __future__ import annotations

STUDY_TEMPLATE = """\
# A study: one search over one dataset. Check it with "mlp-search plan", start it with "mlp-search run",
# and start it again to go on where it was interrupted. A line left out takes the value shown here,
# except in [space] and [[start]], which say what they do then; a whole table may be left out too.

[study]
name = "digits"               # left out: the name of the source
seed = 0                      # same seed, same trials
trials = 64                   # the budget: so many trials,
# timeout_s = 1800            # or so many seconds, whichever ends first

[data]
source = "digits"             # digits, mnist, fashion_mnist, or the path of a .npz, .csv or .parquet file
# target = "species"          # for tables: the column that holds the labels
validation_fraction = 0.2     # of the training rows: they choose epochs and rank trials
test_fraction = 0.2           # of all rows, sealed, where the source has no test rows of its own
scaling = "minmax"            # minmax, standard, none
split_seed = 0                # studies with the same split can be compared

[space]                       # a value fixes a dimension, a list is a choice, { low, high } is a range;
                              # log = true draws evenly over the orders of magnitude, step = 0.1 in steps.
                              # A line left out is not searched: width 512, depth 2, dropout 0.2, adam,
                              # Keras's learning rate for the optimizer, constant, 20 epochs, batches of 128
width = { low = 32, high = 1024, log = true }    # units of each hidden layer
depth = { low = 1, high = 4 }                    # hidden layers
dropout = { low = 0.0, high = 0.5 }              # share of units dropped after each of them
optimizer = ["sgd", "rmsprop", "adam"]           # or adamw, adagrad, adadelta, adamax, nadam, ftrl, lion
learning_rate = { low = 1e-4, high = 1e-1, log = true }
schedule = ["constant", "cosine"]                # cosine: down to zero over the trial's epochs
epochs = { low = 5, high = 40 }
batch_size = [32, 64, 128, 256]

[search]
objective = "val_accuracy"
sampler = "tpe"               # tpe, random, grid, gp, cmaes; grid wants no range without a step
pruner = "asha"               # hyperband, asha, median, none
audit = 0.0                   # share of the trials to be pruned that run on: "report" says what was missed

[workers]
# slots = 2                   # trials at a time; left out: one per GPU, else one per core
# trial_timeout_s = 600       # the longest that one trial may take
# gpus = "0,2"                # which GPUs, or how many; 0: cores; left out: all
# trials_per_gpu = 1          # trials that share a GPU; "auto": as many as a forecast of memory allows
memory_mb = 1000              # a worker that holds more is replaced between trials

[[start]]                     # known-good configurations are tried first, none is pruned; each has to lie in
width = 512                   # the space. May be left out: what [space] fixes, learning_rate (Keras's for
depth = 2                     # the optimizer) and schedule (constant)
dropout = 0.3
optimizer = "adam"
learning_rate = 0.001
schedule = "cosine"
epochs = 20
batch_size = 128

[[start]]
width = 768
depth = 2
dropout = 0.4
optimizer = "rmsprop"
learning_rate = 0.0015
schedule = "cosine"
epochs = 40
batch_size = 256
"""
