"""Connects the workers of a run. This is the only folder of training/ that imports Horovod."""
