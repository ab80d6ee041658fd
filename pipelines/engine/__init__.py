"""Starts Spark sessions and notebooks, and reads and writes Delta tables."""
