"""The seeds of each finalist, and the choice of the winner."""

from search.finals.selection.plans import EverySeed, Plan, is_out, n_rejecting, order
from search.finals.selection.verdict import Verdict, as_attribute, judge
