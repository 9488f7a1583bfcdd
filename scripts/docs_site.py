"""Pages that MkDocs adds to those of ``docs/``: the reference that is generated from the code, and pages of the root.

A hook of ``mkdocs.yml``. Nothing here imports TensorFlow, Optuna or MLflow.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.main import get_command

ROOT = Path(__file__).parents[1]
PAGES = {
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "vulnerabilities.md",
    "README.md": "index.md",
    "examples/tour.ipynb": "tour.ipynb",
}
"""Files outside ``docs/`` that are pages of the site, by the page."""
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
_FROM_ELSEWHERE = re.compile(
    r'<script[^>]*src="https://[^>]*></script>|<script type="module">\s*import[^<]*"https://.*?</script>', re.DOTALL
)
"""Programs that a page of a notebook would load from other sites: Plotly, MathJax, Mermaid."""
_EVERYWHERE = ("home", "as_json", "quiet", "verbose")
_TEMPLATE_LINE = re.compile(r"^(?:# )?(?P<key>\w+) = (?P<value>[^#]*?)\s*(?:#\s*(?P<text>.*))?$")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lists the decisions in the navigation, and the notebook where there is one."""
    decisions = [f"adr/{path.name}" for path in sorted((ROOT / "docs" / "adr").glob("*.md"))]
    for section in config.nav or ():
        for name, entries in section.items():
            if name == "Explanation":
                entries[-1]["Decisions"] = decisions
            if name == "Tutorial" and (ROOT / "examples" / "tour.ipynb").is_file():
                entries.append({"A notebook": PAGES["examples/tour.ipynb"]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the root."""
    for source, page in PAGES.items():
        if page not in files.src_uris and (ROOT / source).is_file():
            files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Fills in the generated parts of a page, and corrects its links to files outside ``docs/``."""
    for name, generate in GENERATED.items():
        marker = f"<!-- generated: {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, generate())
    uri = page.file.src_uri
    source = next((source for source, other in PAGES.items() if other == uri and uri != "index.md"), f"docs/{uri}")
    return _LINK.sub(lambda link: _inside(link, source, uri, files), markdown)


def on_post_page(output: str, page: Any, config: MkDocsConfig) -> str:  # noqa: ARG001
    """Gives the notebook's figures the Plotly that is installed here, in place of those that they would load."""
    if page.file.src_uri != PAGES["examples/tour.ipynb"]:
        return output
    own = '<script src="../assets/plotly.min.js"></script></head>'
    return _FROM_ELSEWHERE.sub("", output).replace("</head>", own, 1)


def on_post_build(config: MkDocsConfig) -> None:
    """Writes Plotly's program beside the pages."""
    from plotly.offline import get_plotlyjs

    (Path(config.site_dir) / "assets" / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")


def _inside(link: re.Match[str], source: str, uri: str, files: Files) -> str:
    """A link as the site has it: to a page, or as its text alone where the site lacks the file.

    Args:
        link: The link.
        source: The path of the file that has it, from the root.
        uri: The page that has it.
        files: All of the site.
    """
    target = link["target"]
    if re.match(r"[a-z]+:", target):
        return link[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    page = PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
    if page == "adr":
        page = "adr/0001-one-compiled-epoch-with-open-shapes.md"
    if page not in files.src_uris:
        return link["text"]
    relative = posixpath.relpath(page, posixpath.dirname(uri) or ".")
    return f"[{link['text']}]({relative}{link['anchor'] or ''})"


def commands() -> str:
    """Every command with its arguments and options, from the application."""
    from search.cli.app import app

    group: Any = get_command(app)
    parts = [_common(next(iter(group.commands.values())))]
    for name, command in group.commands.items():
        parts.append("\n".join(_command(name, command)))
    return "\n\n".join(parts)


def _common(command: Any) -> str:
    shared = [parameter for parameter in command.params if parameter.name in _EVERYWHERE]
    rows = [*map(_option, shared), "| `-h`, `--help` | Shows the command's help and an example. | |"]
    return "\n".join(["## Options of every command", "", _OPTIONS, *rows])


_OPTIONS = "| option | what | default |\n| --- | --- | --- |"


def _command(name: str, command: Any) -> Iterator[str]:
    text, _, example = (command.help or "").partition("Example:")
    own = [parameter for parameter in command.params if parameter.name not in _EVERYWHERE and not _is_hidden(parameter)]
    arguments = [parameter for parameter in own if parameter.param_type_name == "argument"]
    words = " ".join(_word(parameter) for parameter in arguments)
    yield f"## {name}\n"
    yield _cell(" ".join(text.split())) + "\n"
    yield f"```text\nmlp-search {name} {words}".rstrip() + (
        " [OPTIONS]\n```\n" if len(own) > len(arguments) else "\n```\n"
    )
    if example.strip():
        yield f"Example: `{' '.join(example.split())}`\n"
    if own:
        yield _OPTIONS.replace("option", "argument or option", 1)
        yield from map(_option, own)


def _word(argument: Any) -> str:
    """An argument in a usage line: in brackets where it may be left out, with dots where there may be several."""
    word = f"{argument.metavar}…" if argument.nargs == -1 and not argument.metavar.endswith("…") else argument.metavar
    return str(word if argument.required else f"[{word}]")


def _is_hidden(parameter: Any) -> bool:
    return bool(getattr(parameter, "hidden", False)) or parameter.name == "help"


def _option(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    metavar = parameter.metavar or ("" if getattr(parameter, "is_flag", False) else parameter.name.upper())
    names = [metavar] if is_argument else [*parameter.opts, *parameter.secondary_opts]
    shown = ", ".join(f"`{name}`" for name in names)
    if metavar and not is_argument:
        shown += f" `{metavar}`"
    return f"| {_cell(shown)} | {_cell(parameter.help or '')} | {_cell(_default(parameter))} |"


def _default(parameter: Any) -> str:
    shown = getattr(parameter, "show_default", None)
    if isinstance(shown, str):
        return shown
    if parameter.required:
        return "must be given"
    if getattr(parameter, "is_flag", False) or parameter.default is None:
        return ""
    return f"`{parameter.default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def study_file() -> str:
    """Every key of the study file: its rule, and what the template says of it."""
    from search.spec.defaults import STUDY_TEMPLATE
    from search.spec.rules import TABLES

    said = _said(STUDY_TEMPLATE)
    parts = []
    for table, rules in TABLES.items():
        heading = "## `[[start]]`" if table == "start" else f"## `[{table}]`"
        rows = ["| key | value | in the template |", "| --- | --- | --- |"]
        for key, rule in rules.items():
            value, text = said.get((table, key), ("", ""))
            line = f"`{key} = {value}` {text}" if value else text
            needed = "; must be given" if rule.required else ""
            rows.append(f"| `{key}` | {_cell(rule.text.removeprefix('must be '))}{needed} | {_cell(line)} |")
        parts.append("\n".join([heading, "", *rows]))
    return "\n\n".join([*parts, "## The template", f"```toml\n{STUDY_TEMPLATE}```"])


def presets() -> str:
    """The dimensions of each preset's space, and its starts."""
    from search.spec.defaults import PRESETS, toml_value

    names = dict.fromkeys(name for preset in PRESETS.values() for name in preset["space"])
    rows = [f"| dimension | {' | '.join(PRESETS)} |", "| --- |" + " --- |" * len(PRESETS)]
    for name in names:
        spaces = [preset["space"] for preset in PRESETS.values()]
        values = [f"`{toml_value(space[name])}`" if name in space else "" for space in spaces]
        rows.append(f"| `{name}` | {' | '.join(values)} |")
    starts = []
    for name, preset in PRESETS.items():
        for kind, key in (("arrays", "start"), ("tables", "table_start")):
            for start in preset.get(key, ()):
                values = ", ".join(f"{dimension} {value}" for dimension, value in start.items())
                starts.append(f"- `{name}`, {kind}: {values}")
    return "\n".join([*rows, "", "Their starts:", "", *starts])


def _said(template: str) -> dict[tuple[str, str], tuple[str, str]]:
    """The value and the comment of each key in the template, by table and key."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    table, key = "", ""
    for line in template.splitlines():
        if head := re.match(r"\[+(\w+)\]+", line):
            table, key = head[1], ""
        elif (match := _TEMPLATE_LINE.match(line)) and table:
            key = match["key"]
            found.setdefault((table, key), (match["value"].strip(), match["text"] or ""))
        elif key and (more := re.match(r"\s+#\s*(.*)", line)):
            value, text = found[(table, key)]
            found[(table, key)] = (value, f"{text} {more[1]}")
        else:
            key = ""
    return found


def python() -> str:
    """Every public name of ``search``, from its docstring."""
    import search

    modules = search._modules()
    classes = sorted(name for name in modules if name[0].isupper())
    functions = sorted(modules.keys() - set(classes))
    parts = []
    for heading, names in (("Functions", functions), ("Results and settings", classes)):
        parts.append(f"## {heading}")
        parts += [f"::: {modules[name]}.{name}\n    options:\n      heading: {name}\n" for name in names]
    return "\n\n".join(parts)


GENERATED: dict[str, Callable[[], str]] = {
    "commands": commands,
    "presets": presets,
    "study file": study_file,
    "python": python,
}
"""The generated parts of pages, by the name in their marker."""
