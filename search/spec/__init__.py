"""From a study file to a validated StudySpec."""
