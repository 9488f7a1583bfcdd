"""The virtual clock of a study: when its trials begin and end, and which results each of them may use."""
