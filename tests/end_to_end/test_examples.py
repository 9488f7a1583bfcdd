"""The study files of ``examples/`` are what they say they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.spec.reading import read_spec

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.toml")), ids=lambda path: path.stem)
def test_a_study_file_can_be_read_and_names_itself(path: Path) -> None:
    spec = read_spec(path)
    assert path.stem.replace("_", "-") in spec.name
    assert f"mlp-search run {path.relative_to(EXAMPLES.parent)}" in path.read_text().split("\n\n")[0]
