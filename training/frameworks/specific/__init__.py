"""Frameworks that learn theta^i."""
