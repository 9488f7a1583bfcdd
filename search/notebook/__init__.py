"""What Python and a notebook get: results with figures and models, and a table that follows a search."""

import warnings

# MLflow imports tqdm, which asks for widgets in a notebook; the progress here needs none.
warnings.filterwarnings("ignore", message="IProgress not found")
