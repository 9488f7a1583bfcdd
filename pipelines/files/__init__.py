"""Reads files that users give: archives, tables, pictures, and where they are."""
