"""From a study file to a validated StudySpec."""

from search.spec.reading import (
    default_spec as default_spec,
    override as override,
    read_spec as read_spec,
    spec_from_dict as spec_from_dict,
)
from search.spec.study_spec import StudySpec as StudySpec
