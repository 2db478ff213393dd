-- publish_events: takes or keeps the relay's lease, moves up to $4 events from the outbox into the log, numbers them per
-- merchant without gaps, makes one delivery for each enabled endpoint, and wakes the streams (notify events_published,
-- payload: the merchant). An empty outbox costs no write.
-- Always one row: leader false when another relay holds the lease or the outbox is empty; oldest_created_at is that of the
-- oldest event published, null where there was none.
-- $1 holder, $2 now, $3 lease_expires_at ($2: hand it over), $4 limit
with
lease as (
  update leases
  set holder = $1, expires_at = $3, token = token + (holder is distinct from $1)::int
  where name = 'relay' and (holder = $1 or expires_at <= $2)
    and ($3 <= $2 or exists (select from outbox))
  returning name
),
taken as (
  delete from outbox
  where position = any (array( -- not joined: known to be empty, as it mostly is, it would be read whole
    select o.position
    from outbox o
    where exists (select from lease)
    order by o.position
    limit $4
  ))
  returning position, merchant_id, id, operation_id, type, data, traceparent, created_at
),
counters as (
  insert into event_sequences as s (merchant_id, last)
  select merchant_id, count(*)
  from taken
  group by merchant_id
  order by merchant_id
  on conflict on constraint event_sequences_pkey do update set last = s.last + excluded.last
  returning merchant_id, last
),
numbered as (
  select t.*, c.last + 1 - row_number() over (partition by t.merchant_id order by t.position desc) as sequence
  from taken t
  join counters c on c.merchant_id = t.merchant_id
),
published as (
  insert into events (merchant_id, sequence, id, operation_id, type, data, traceparent, created_at)
  select merchant_id, sequence, id, operation_id, type, data, traceparent, created_at
  from numbered
  order by position
  returning merchant_id, sequence
),
fanned_out as (
  insert into webhook_deliveries (merchant_id, endpoint_id, id, event_sequence, next_attempt_at, created_at)
  select p.merchant_id, e.id, uuid_v7($2), p.sequence, $2, $2
  from published p
  join webhook_endpoints e on e.merchant_id = p.merchant_id and e.disabled_at is null
),
woken as (
  select pg_notify('events_published', merchant_id::text)
  from counters
)
select
  exists (select from lease) as leader,
  (select count(*) from published) as published,
  (select count(*) from woken) as merchants,
  (select min(created_at) from taken) as oldest_created_at
