"""Holds what frameworks share: the context of a round, inner steps, gradients, and the registry."""
