-- One row per sample, a (domain, user, item) that models learn from or are tested on.
-- The trainer reads the files of one pinned version; it cannot apply deletion vectors, so they stay off.
CREATE TABLE ${table} (
  domain_id INT NOT NULL,
  user_id BIGINT NOT NULL,
  item_id BIGINT NOT NULL,
  label FLOAT NOT NULL COMMENT '0 or 1',
  ${features}
  bucket INT NOT NULL COMMENT 'holds whole tail domains, or some users of a head domain; see domains.first_bucket',
  split STRING NOT NULL COMMENT 'train, val or test'
) USING DELTA
PARTITIONED BY (split, bucket)
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.constraints.label_is_0_or_1' = 'label IN (0, 1)',
  'delta.constraints.split_is_known' = 'split IN ("train", "val", "test")',
  'delta.constraints.ids_from_zero' = 'domain_id >= 0 AND user_id >= 0 AND item_id >= 0'
)
