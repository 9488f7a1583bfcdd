"""Connects to MLflow, and creates its database in a new home."""

from search.tracking.connection.client import connect, mlflow_errors, open_home, require_answer
from search.tracking.connection.new_database import make_database
