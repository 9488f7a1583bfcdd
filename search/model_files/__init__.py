"""Chooses which trials keep their model files, and deletes the model files of the others."""

from search.model_files.deletion import delete_model_file, model_file_size, versions_of
from search.model_files.keeper import ModelKeeper
from search.model_files.needed import needed_trials
