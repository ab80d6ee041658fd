-- One row per build: the versions of the tables that belong together, and how far the log was read.
CREATE TABLE ${table} (
  built_at TIMESTAMP NOT NULL,
  path STRING NOT NULL COMMENT 'data.path: where the log lies',
  source_version BIGINT COMMENT 'the version of a log that is a Delta table; null for other logs',
  latest DOUBLE COMMENT 'the largest time of the clean rows; null if no row has a time',
  data STRING COMMENT 'the settings data.* as JSON, without those that differ from day to day',
  versions MAP<STRING, BIGINT> NOT NULL COMMENT 'by table: samples, domains, users, items, features, rejects'
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
