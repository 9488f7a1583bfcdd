"""The code that a promoted model takes along: a package whose name no program of its user has."""

from __future__ import annotations

import re
from pathlib import Path

import pipelines
from pipelines.training.history import sha256

_IMPORT = re.compile(r"^(\s*(?:from|import) )pipelines\b", re.MULTILINE)


def write_code(folder: Path) -> tuple[Path, Path]:
    """Copies ``pipelines`` and the file that serves a model, with their imports rewritten.

    ``mlflow.pyfunc.load_model`` puts the copy first on the importing program's path, where a package called
    ``pipelines`` would hide the program's own. The name holds a hash of the code, so that models which different
    versions of this project promoted can be loaded into one program.

    Args:
        folder: Where to write.

    Returns:
        The file for MLflow's ``python_model``, and the package for its ``code_paths``.
    """
    source = Path(pipelines.__file__).parent
    files = {path.relative_to(source): path.read_text() for path in sorted(source.rglob("*.py"))}
    name = f"mlp_search_model_{sha256(repr(files).encode())[:8]}"
    package, served = folder / name, Path(__file__).with_name("served_model.py")
    for path, text in files.items():
        target = package / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_rename(text, name))
    code = folder / served.name
    code.write_text(_rename(served.read_text(), name))
    return code, package


def _rename(text: str, name: str) -> str:
    return _IMPORT.sub(rf"\g<1>{name}", text)
