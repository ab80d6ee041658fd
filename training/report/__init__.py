"""Writes one page about the tables and the model of a config: data, learning, quality by domain."""
