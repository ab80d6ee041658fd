"""Requests, promotions, and the quality of what is served."""
