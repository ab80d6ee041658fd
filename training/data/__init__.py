"""How rows of pinned Delta tables become batches: snapshot, reader, patches and batches."""
