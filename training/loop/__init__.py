"""Runs training in four stages: open_run, learn_shared, learn_specific, summarize."""
