"""Translates what is wrong with the file of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import DataError, MlpSearchError, UnavailableError


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translates what pandas and Arrow raise for a file."""
    import pandas as pd

    try:
        yield
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(f"{path}: must be UTF-8 text, got byte 0x{byte:02x}: save the table as UTF-8") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path}: must name its columns in the first line, got an empty file: add them") from error
    except MlpSearchError:
        raise
    except Exception as error:  # pandas and Arrow raise many types for malformed files
        if isinstance(error, OSError) and error.errno:  # Arrow raises OSError without a number for a damaged file
            raise UnavailableError(f"{path}: cannot be read ({error.strerror})") from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: cannot be read as a table ({reason}): write it again") from error


def require_unique(path: Path, names: Iterable[str]) -> None:
    """Raises DataError where columns have one name."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{path}: column names must differ, got {', '.join(repeated)} more than once: rename them")
