"""Results for Python and notebooks, with figures and models, and a table that follows a search."""
