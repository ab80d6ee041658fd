"""Decides which model is served, answers requests by it, and exports it."""
