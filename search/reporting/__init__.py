"""Reports, charts, explanations and tables for people."""
