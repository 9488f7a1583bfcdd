"""The command line: ``mlp-search``, also ``python -m search``.

Exit codes: 0 done; 1 a problem that the message explains; 2 wrong usage; 3 a check failed; 130 interrupted.
A command imports what it needs when it runs, so that the help and completion answer at once.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from pipelines.errors import InputError, MlpSearchError, RefusedError
from search.cli.about import show_versions
from search.cli.commands import comparing, data, finals, models, removal, searching, studies, training, upkeep
from search.cli.output_options import with_output_options
from search.cli.usage import usage_line
from search.home import startup
from search.home.interrupts import end_at_signals
from search.home.text import redact_tracebacks, report_problems
from search.reporting import display
from search.reporting.screen import set_json, verbosity

app = typer.Typer(
    name="mlp-search",
    help="Hyperparameter search and experiment tracking for dense networks: Optuna searches, Keras trains, MLflow"
    " records.",
    epilog="Start with: mlp-search run digits",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def start(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the versions of this program and its libraries.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", hidden=True)] = False,
) -> None:
    """Print the version, or run the command."""
    if version:
        set_json(as_json)
        show_versions()
        raise typer.Exit
    if as_json:
        raise typer.BadParameter("--json: must come after the command, as in mlp-search studies --json")
    if ctx.invoked_subcommand is None:
        raise typer.BadParameter("a command must be given; mlp-search --help lists them")


for command in (
    data.datasets, data.init, searching.plan, training.train, searching.run, comparing.follow, studies.studies,
    studies.trials, studies.show, comparing.compare, comparing.enqueue, studies.report, finals.finalists,
    finals.evaluate, models.promote, models.rollback, models.models, models.predict, removal.prune_models,
    removal.delete, removal.rename, upkeep.ui, upkeep.doctor, upkeep.migrate,
):  # fmt: skip
    app.command()(with_output_options(command))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: The words after the program's name; those of ``sys.argv`` by default.

    Returns:
        The exit code. A bug keeps its traceback.
    """
    if arguments is None:
        display.open_closed_streams()
        startup.collect_seldom()
        startup.send_no_usage()
        display.escape_on_stdout()
        end_at_signals()
    redact_tracebacks()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries warn their programmers, not the users of this program
    with verbosity(0):
        return _run(list(sys.argv[1:] if arguments is None else arguments))


def _database_problem(error: Exception) -> str:
    """The line for a database that failed while a command read it; empty for another error."""
    if "optuna" not in sys.modules:
        return ""
    from search.storage.database import reason

    why = reason(error)
    return f"a database failed: {why}" if why else ""


def _run(given: Sequence[str]) -> int:
    """Runs a command, and reports its errors."""
    try:
        code = get_command(app).main(list(given) or ["--help"], prog_name="mlp-search", standalone_mode=False)
    except typer.TyperException as error:
        report_problems([usage_line(error)])
        return error.exit_code
    except MlpSearchError as error:
        report_problems(error.problems if isinstance(error, InputError) else [str(error)])
        return 3 if isinstance(error, RefusedError) else 1
    except Exception as error:
        if not (problem := _database_problem(error)):
            raise
        report_problems([problem])
        return 1
    if code == 130:
        if given[0] in ("run", "finalists"):
            display.suggest(display.command(*given), before="to resume, run the same command again: ")
        report_problems(["interrupted"], "")
    return code or 0
