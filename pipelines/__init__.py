"""Holds the Spark jobs, one file each, and in subfolders the steps that they call."""
