"""From pinned Delta files to batches."""
