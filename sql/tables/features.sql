-- One row per feature of the samples: how its column was made.
CREATE TABLE ${table} (
  name STRING NOT NULL COMMENT 'column in samples; of a list or sequence, NAME_length counts the values before padding',
  kind STRING NOT NULL COMMENT 'category, dense, list or sequence',
  of STRING NOT NULL COMMENT 'the owner of the value: row, user or item',
  vocabulary STRING COMMENT 'whose ids the values are: the feature in vocabularies, or item_id; null: no ids',
  size BIGINT NOT NULL COMMENT 'number of ids: values are 0 .. size - 1; in a vocabulary, 0 is a missing value',
  length INT NOT NULL COMMENT 'of a list or sequence, after padding; 0 for other kinds',
  mean DOUBLE COMMENT 'of a dense feature, over the clean rows: the value is (number - mean) / deviation',
  deviation DOUBLE COMMENT 'of a dense feature; 0 if all numbers are equal, and then the value is 0, too'
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
