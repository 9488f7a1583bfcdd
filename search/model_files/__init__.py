"""Chooses which trials keep their model files, and deletes the model files of the others."""

from search.model_files.deletion import (
    delete_model_file as delete_model_file,
    model_file_size as model_file_size,
    versions_of as versions_of,
)
from search.model_files.keeper import ModelKeeper as ModelKeeper
from search.model_files.needed import needed_trials as needed_trials
