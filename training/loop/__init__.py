"""The stages of a training run: open_run, learn_shared, learn_specific, summarize."""
