"""Optuna's database; the only folder that touches Optuna's internals."""

from search.storage.cached_storage import CachedStorage, States
from search.storage.database import open_storage, storage_errors
from search.storage.stored_study import StoredStudy
