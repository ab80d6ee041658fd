"""Files: atomic writes, paths, object storage."""
