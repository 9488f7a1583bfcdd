"""The progress of a search: as a screen shows it, and as the database of another process has it."""
