"""Finalists, the winner and the held-out test."""

from search.finals.ensemble import Ensemble as Ensemble
from search.finals.finalist import Finalist as Finalist
from search.finals.finals import run_finalists as run_finalists
from search.finals.readings import SealedResult as SealedResult, recorded_test as recorded_test
from search.finals.result import FinalistsResult as FinalistsResult
from search.finals.sealed_test import evaluate as evaluate
from search.finals.selection import Verdict as Verdict
