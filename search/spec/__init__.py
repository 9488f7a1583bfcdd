"""From a study file to a validated StudySpec."""

from search.spec.reading import default_spec, override, read_spec, spec_from_dict
from search.spec.study_spec import StudySpec
