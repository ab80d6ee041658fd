-- One row a build: the versions of the tables that belong together, and how far the log was read.
CREATE TABLE ${table} (
  built_at TIMESTAMP NOT NULL,
  path STRING NOT NULL COMMENT 'of the log',
  source_version BIGINT COMMENT 'of a log that is a Delta table; null: it is none',
  latest DOUBLE COMMENT 'the largest time of the rows that were kept; null: they have none',
  data STRING COMMENT 'the settings data.*, but those that choose a day: as JSON',
  versions MAP<STRING, BIGINT> NOT NULL COMMENT 'by table: samples, domains, users, items, rejects'
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
