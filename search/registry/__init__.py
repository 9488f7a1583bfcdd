"""The gate and the model registry."""

CHAMPION = "champion"
"""The alias that a promotion moves, and that predictions use, where none is given."""
