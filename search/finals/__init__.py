"""Finalists, the winner and the held-out test."""
