"""The seeds of each finalist, and the choice of the winner."""

from search.finals.selection.plans import (
    EverySeed as EverySeed,
    Plan as Plan,
    is_out as is_out,
    n_rejecting as n_rejecting,
    order as order,
)
from search.finals.selection.verdict import Verdict as Verdict, as_attribute as as_attribute, judge as judge
