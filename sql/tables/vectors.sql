-- Pre-trained vectors of users or items, all of one length.
CREATE TABLE ${table} (
  key STRING NOT NULL COMMENT 'as in users or items',
  vector ARRAY<FLOAT> NOT NULL
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
