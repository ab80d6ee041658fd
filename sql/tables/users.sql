-- The users' keys, as the user wrote them, and their ids: 0, 1, 2, ... without gaps; and the features of users, as numbers.
CREATE TABLE ${table} (
  key STRING NOT NULL,
  ${features}
  id BIGINT NOT NULL
) USING DELTA
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.constraints.ids_from_zero' = 'id >= 0'
)
