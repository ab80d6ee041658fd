"""How files are written and shared: atomic writes, local paths, and copies in object storage."""
