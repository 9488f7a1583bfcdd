"""Sends runs to MLflow in the background and keeps them on disk until they arrive."""

from search.tracking.entries import Entry, Epoch, RunStart, now_ms
from search.tracking.tracker import Tracker
