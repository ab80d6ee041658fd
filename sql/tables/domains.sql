-- One row per domain: its key, its counts, and the buckets of its samples.
CREATE TABLE ${table} (
  domain_id INT NOT NULL COMMENT 'from 0, without gaps',
  domain_key STRING NOT NULL COMMENT 'as the user wrote it',
  rows BIGINT NOT NULL,
  rows_train BIGINT NOT NULL,
  rows_val BIGINT NOT NULL,
  rows_test BIGINT NOT NULL,
  positives_train BIGINT NOT NULL,
  positives_val BIGINT NOT NULL,
  positives_test BIGINT NOT NULL,
  users BIGINT NOT NULL,
  items BIGINT NOT NULL,
  ctr_ratio DOUBLE COMMENT 'positives / negatives of a user when negatives were drawn; null if the log has labels',
  head BOOLEAN NOT NULL COMMENT 'true: adapted by the training workers; false (tail): by dr_longtail',
  first_bucket INT NOT NULL COMMENT 'samples lie in buckets first_bucket .. first_bucket + buckets - 1',
  buckets INT NOT NULL,
  short BOOLEAN NOT NULL COMMENT 'true: too few rows for every split, so that train, val or test has none'
) USING DELTA
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.constraints.rows_add_up' = 'rows = rows_train + rows_val + rows_test'
)
