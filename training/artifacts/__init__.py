"""Stores trained models on disk and names them."""
