"""Finalists, the winner and the held-out test."""

from search.finals.ensemble import Ensemble
from search.finals.finalist import Finalist
from search.finals.finals import run_finalists
from search.finals.readings import SealedResult, recorded_test
from search.finals.result import FinalistsResult
from search.finals.sealed_test import evaluate
from search.finals.selection import Verdict
