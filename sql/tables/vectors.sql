-- One row per user or item with a pre-trained vector; all vectors have the same length.
CREATE TABLE ${table} (
  key STRING NOT NULL COMMENT 'as in the table users or items',
  vector ARRAY<FLOAT> NOT NULL
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
