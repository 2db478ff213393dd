-- list_events: a merchant's published events, newest first. Ask for one more than the page to know whether there is more.
-- No row when there is none.
-- $1 merchant_id, $2 before_sequence (null: from the newest), $3 type (null: any), $4 limit
select
  e.id,
  e.type,
  e.sequence,
  e.created_at,
  e.data
from events e
where e.merchant_id = $1
  and e.sequence < coalesce($2, 9223372036854775807)
  and ($3::text is null or e.type = $3)
order by e.sequence desc
limit $4
