"""Runs a study: asks, trains, prunes, reports and recovers."""

from search.scheduling.progress import Observer as Observer, Progress as Progress
