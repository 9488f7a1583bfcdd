"""Sends runs to MLflow in the background and keeps them on disk until they arrive."""

from search.tracking.entries import Entry as Entry, Epoch as Epoch, RunStart as RunStart, now_ms as now_ms
from search.tracking.tracker import Tracker as Tracker
