"""Removes what is no longer needed, model files of trials and whole studies, and renames studies."""

from search.removal.model_files import Pruned as Pruned, prune_models as prune_models
from search.removal.renaming import Renamed as Renamed, rename_study as rename_study
from search.removal.studies import Deleted as Deleted, delete_study as delete_study
