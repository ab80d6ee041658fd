-- The best candidates of each request, as pipelines/score.py ranked them; each run replaces what the last one found.
CREATE TABLE ${table} (
  scored_at TIMESTAMP NOT NULL,
  model STRING NOT NULL,
  model_version STRING NOT NULL,
  table_version BIGINT NOT NULL COMMENT 'of samples',
  domain_key STRING NOT NULL,
  user_key STRING NOT NULL,
  rank INT NOT NULL COMMENT 'from 1, the best; of equal scores the smaller item_key is first',
  item_key STRING NOT NULL,
  score DOUBLE NOT NULL COMMENT 'the probability of a positive, between 0 and 1',
  specific BOOLEAN NOT NULL COMMENT 'true: by the theta^i of the domain; false: by theta^S alone',
  known_user BOOLEAN NOT NULL COMMENT 'false: the model has not seen this user, and takes zeros for its vector',
  known_item BOOLEAN NOT NULL
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
