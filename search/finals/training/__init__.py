"""Trains finalists, which get new seeds, and refits, which train on the validation rows too."""

from search.finals.training.finalist_queue import FinalistQueue
from search.finals.training.finals_trainer import FinalsTrainer
from search.finals.training.jobs import refit_metrics
