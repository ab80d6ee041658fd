-- The features that the samples have beside their ids, one row each: how their columns were made.
CREATE TABLE ${table} (
  name STRING NOT NULL COMMENT 'of the column in samples; of a list or sequence, NAME_length is how many values are real',
  kind STRING NOT NULL COMMENT 'category, dense, list or sequence',
  of STRING NOT NULL COMMENT 'row, user or item: whose value it is',
  vocabulary STRING COMMENT 'whose ids the values are: its own in vocabularies, or item_id; null: they are numbers',
  size BIGINT NOT NULL COMMENT 'ids of the vocabulary: values are 0 .. size - 1, where 0 is a missing value',
  length INT NOT NULL COMMENT 'of a list or sequence, which is filled up to it',
  mean DOUBLE COMMENT 'of a dense feature, over the rows kept: the value is (number - mean) / deviation',
  deviation DOUBLE COMMENT 'of a dense feature; 0 where all numbers are the same, and so is the value'
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
