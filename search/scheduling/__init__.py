"""Runs a study: asks, trains, prunes, reports and recovers."""
