"""Frameworks that learn theta^S."""
