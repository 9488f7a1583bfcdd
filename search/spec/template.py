"""The study file that ``mlp-search init`` writes: every key with its default and its alternatives."""

from __future__ import annotations

STUDY_TEMPLATE = """\
# A study: one search over one dataset. Check it with "mlp-search plan" and start it with "mlp-search run";
# the same command resumes an interrupted study. A line left out takes the value shown here, except in
# [space] and [[start]], whose comments give their defaults. A whole table may be left out too.

[study]
name = "digits"               # default: the name of the source
seed = 0                      # same seed, same trials
trials = 64                   # the budget in trials,
# timeout_s = 1800            # and in seconds; the study ends at the first of the two

[data]
source = "digits"             # digits, mnist, fashion_mnist, or the path of a .npz, .csv or .parquet file
# target = "species"          # for tables: the column that holds the labels
validation_fraction = 0.2     # of the training rows: they choose epochs and rank trials
test_fraction = 0.2           # of all rows, held out, if the source has no test rows of its own
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
sampler = "tpe"               # tpe, random, grid, gp, cmaes; grid needs a step in every range
pruner = "asha"               # hyperband, asha, median, none
audit = 0.0                   # share of the trials to be pruned that train to the end: "report" shows what
                              # pruning missed

[workers]
# slots = 2                   # trials that train at the same time; default: one per GPU, else one per core
# trial_timeout_s = 600       # time limit of one trial
# gpus = "0,2"                # the GPUs, or their number; 0: cores; default: all
# trials_per_gpu = 1          # trials that share a GPU; "auto": as many as a forecast of memory allows
memory_mb = 1000              # a worker with more resident memory is replaced between trials

[[start]]                     # A known-good configuration: tried first and never pruned. It must lie in the
width = 512                   # space. Defaults: what [space] fixes, Keras's learning_rate for the optimizer,
depth = 2                     # schedule "constant"
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
