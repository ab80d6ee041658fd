"""Adds the new rows of a log to tables that exist.

The steps are those of pipelines/build_domains.py. Encoding, planning and describing differ, because ids and buckets of
earlier builds must stay.
"""
