"""Writes files atomically, and keeps copies of folders in object storage."""
