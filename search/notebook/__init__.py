"""What Python and a notebook get: results with figures and models, and a table that follows a search."""
