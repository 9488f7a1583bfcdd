"""Figures of a study: each chart has one function, for the report and for a notebook."""

from search.reporting.charts.held_out import MAX_POINTS, confusion, residuals
from search.reporting.charts.learning import all_curves, best_curves
from search.reporting.charts.points import StudyPoints, TooFewTrialsError, study_points
from search.reporting.charts.study_charts import CHARTS, StudyCharts, document, study_charts
