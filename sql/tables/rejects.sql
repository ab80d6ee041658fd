-- One row per rejected row of the log, with its first fault.
CREATE TABLE ${table} (
  row STRING NOT NULL COMMENT 'the raw row as JSON',
  column STRING NOT NULL COMMENT 'the faulty column; "line" if the line could not be parsed',
  reason STRING NOT NULL
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
