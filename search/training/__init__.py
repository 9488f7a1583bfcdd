"""Trains one configuration without a study, continues its training, and forecasts studies."""

from search.training.configuration import TrainingSpec as TrainingSpec, default_training as default_training
from search.training.train import (
    continue_training as continue_training,
    train_once as train_once,
)
from search.training.training_runner import TrainingResult as TrainingResult
