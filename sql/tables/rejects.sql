-- The rows of the log that could not be used, with the first fault of each.
CREATE TABLE ${table} (
  row STRING NOT NULL COMMENT 'the raw row as JSON',
  column STRING NOT NULL COMMENT 'where the fault is: "line" where the line itself could not be parsed',
  reason STRING NOT NULL
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
