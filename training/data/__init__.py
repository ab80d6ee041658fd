"""Turns the rows of pinned Delta tables into batches."""
