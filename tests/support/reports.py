"""Epoch reports of a classification, for tests that train nothing."""

from pipelines.training.history import EpochReport

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")


def report_of(epoch, *values, rate=0.001, duration_s=0.01):
    """The report of an epoch whose ``METRICS`` have these values."""
    return EpochReport(epoch, dict(zip(METRICS, values, strict=True)), rate, duration_s)
