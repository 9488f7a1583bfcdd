"""The files of a promoted model: an MLflow model that holds its `.h5`, its code, its record and example rows."""
