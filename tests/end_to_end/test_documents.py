"""The documents are built without a warning, and what they say of the program is what the program has."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from documents import PAGES, ROOT, our_commands
from PIL import Image, ImageColor
from typer.main import get_command
from waiting import PATIENCE_S

import search
from search.cli.app import app
from search.reporting.charts.style import BLUE, ORANGE, VERMILION
from search.spec.rules import TABLES

GROUP: Any = get_command(app)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environ = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # as in the Makefile
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return folder


def test_the_site_has_every_command_key_and_name_and_needs_no_network(site: Path) -> None:
    """One test, so that the site is built once however the tests are shared out."""
    commands, keys, names = (read(site, f"reference/{page}") for page in ("commands", "study-file", "python"))
    for name, command in GROUP.commands.items():
        assert f'id="{name}"' in commands, name
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts) if parameter.opts[0][:1] == "-" else ():
                assert f"<code>{option}</code>" in commands, f"{name} {option}"
    for table, rules in TABLES.items():
        part = keys[keys.index(f'id="{table}"') :]
        for key, rule in rules.items():
            assert f"<code>{key}</code>" in part, f"{table}.{key}"
            assert html.escape(rule.text.removeprefix("must be ").split(" ")[0], quote=False) in part
    for name in dir(search):
        assert f".{name}" in names, name
    assert "run_study" in read(site, "tour"), "the notebook must be a page"
    assert (site / "assets" / "plotly.min.js").stat().st_size > 1e6
    for path in (site / "index.html", site / "reference" / "index.html", site / "tour" / "index.html"):
        loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', path.read_text())
        assert not loaded, f"{path} loads {loaded}"


def read(site: Path, page: str) -> str:
    return (site / page / "index.html").read_text(encoding="utf-8")


def test_the_pictures_are_small_shown_and_have_the_colors_of_the_charts() -> None:
    folder = ROOT / "docs" / "images"
    shown = {Path(name).name for path in PAGES for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text())}
    drawn = (folder / "draw.py").read_text()
    pictures = sorted(folder.glob("*.png"))
    assert {path.name for path in pictures} == shown
    for path in pictures:
        assert path.stat().st_size < 250_000, path
        assert path.name in drawn, path
    colors = {rgb for _, rgb in Image.open(folder / "report.png").convert("RGB").getcolors(1 << 16)}
    for color in (BLUE, ORANGE, VERMILION):  # complete trials, pruned ones, the best so far
        wanted = ImageColor.getrgb(color)
        nearest = min(max(abs(a - b) for a, b in zip(wanted, found, strict=True)) for found in colors)
        assert nearest <= 16, color  # thin lines blend with what is beneath them


def test_the_tree_of_the_architecture_has_the_order_of_the_import_contracts() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {contract["containers"][0]: contract["layers"][::-1] for contract in contracts if "layers" in contract}
    text = (ROOT / "docs" / "architecture.md").read_text()
    for package, rest in re.findall(r"^(search|pipelines)/(.*\n(?:  .*\n)+)", text, re.MULTILINE):
        files, *folders = rest.splitlines()
        found = re.findall(r"(\w+)\.py", files) + re.findall(r"^  (\w+)/", "\n".join(folders), re.MULTILINE)
        assert found == [name for name in layers.pop(package) if name != "__main__"]
    assert not layers


def test_every_command_in_the_documents_is_one_that_the_program_has() -> None:
    n_parsed = 0
    for path in PAGES:
        for name, *rest in our_commands(path):
            is_sketch = name.startswith("-") or name.isupper() or not rest or {"…", "--help"} & set(rest)
            if not is_sketch:  # the parser checks the names and the values of options; nothing runs
                GROUP.commands[name].make_context(name, rest, resilient_parsing=False)
                n_parsed += 1
    assert n_parsed > 60
