-- The best candidates of each request, as ranked by pipelines/score.py; each run replaces the table.
CREATE TABLE ${table} (
  scored_at TIMESTAMP NOT NULL,
  model STRING NOT NULL,
  model_version STRING NOT NULL,
  table_version BIGINT NOT NULL COMMENT 'version of the table samples',
  domain_key STRING NOT NULL,
  user_key STRING NOT NULL,
  rank INT NOT NULL COMMENT '1 is the best; of equal scores the smaller item_key comes first',
  item_key STRING NOT NULL,
  score DOUBLE NOT NULL COMMENT 'the probability of a positive, between 0 and 1',
  specific BOOLEAN NOT NULL COMMENT 'true: scored by theta^S + theta^i of the domain; false: by theta^S alone',
  known_user BOOLEAN NOT NULL COMMENT 'false: the user is not in the table users, and its vector is zero',
  known_item BOOLEAN NOT NULL
) USING DELTA
TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')
