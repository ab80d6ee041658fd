"""Holds SQL: tables, checks of a build, queries and reports. It is a package so that the wheel contains the files."""
