"""Horovod: the only folder that imports it."""
