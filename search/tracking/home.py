"""Creates a home once the tracking server and the databases answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.home.settings import Settings, prepare_home
from search.storage.database import open_storage

if TYPE_CHECKING:
    pass


def open_home(settings: Settings) -> None:
    """Makes the home, once what lies outside it has answered: where that is away, nothing half-made is left.

    Raises:
        UnavailableError: The tracking server, a database or the folder cannot be used.
    """
    from search.tracking.runs import require_answer

    require_answer(settings)
    if str(settings.home) not in settings.optuna_storage:
        open_storage(settings)
    prepare_home(settings)
