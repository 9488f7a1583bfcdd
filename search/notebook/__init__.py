"""Results with figures and models, data as files, and a table that follows a search: for Python and notebooks."""
