"""Removes what is no longer needed, model files of trials and whole studies, and renames studies."""

from search.removal.model_files import Pruned, prune_models
from search.removal.renaming import Renamed, rename_study
from search.removal.studies import Deleted, delete_study
from search.removal.versions import DeletedVersion, delete_version
