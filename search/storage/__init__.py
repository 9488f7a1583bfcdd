"""Optuna's database; the only folder that touches Optuna's internals."""
