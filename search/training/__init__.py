"""Trains one configuration without a study, continues its training, and forecasts studies."""

from search.training.configuration import TrainingSpec, default_training
from search.training.train import continue_training, train_once
from search.training.training_runner import TrainingResult
