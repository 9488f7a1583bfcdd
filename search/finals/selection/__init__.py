"""Which finalists are trained with which seeds, and which of them wins."""

from search.finals.selection.plans import (
    EverySeed as EverySeed,
    Plan as Plan,
    is_out as is_out,
    n_rejecting as n_rejecting,
    order as order,
)
from search.finals.selection.verdict import Verdict as Verdict, as_attribute as as_attribute, judge as judge
