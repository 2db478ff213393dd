-- Where merchants want to be told, and what became of each attempt. An endpoint's secret is derived from its id: nothing
-- here signs anything.

create table webhook_endpoints (
  merchant_id uuid not null,
  id uuid not null,
  url text not null,
  created_at timestamptz not null,
  disabled_at timestamptz,
  constraint webhook_endpoints_pkey primary key (merchant_id, id)
);

create table webhook_deliveries (
  merchant_id uuid not null,
  endpoint_id uuid not null,
  id uuid not null,
  event_sequence bigint not null,
  state text not null default 'pending',
  attempts smallint not null default 0,
  next_attempt_at timestamptz not null, -- while leased: when the lease ends
  lease_token bigint not null default 0,
  created_at timestamptz not null,
  constraint webhook_deliveries_pkey primary key (endpoint_id, id),
  constraint webhook_deliveries_endpoint_fkey foreign key (merchant_id, endpoint_id)
    references webhook_endpoints (merchant_id, id) on delete cascade,
  constraint webhook_deliveries_state_check check (state in ('pending', 'succeeded', 'failed')),
  constraint webhook_deliveries_attempts_check check (attempts between 0 and 8)
) with (fillfactor = 80);
create index webhook_deliveries_due_idx on webhook_deliveries (next_attempt_at) where state = 'pending';
alter table webhook_deliveries set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

create table webhook_attempts (
  endpoint_id uuid not null,
  delivery_id uuid not null,
  attempt smallint not null,
  status smallint,                      -- null: no answer
  error text,
  duration_ms integer not null,
  attempted_at timestamptz not null,
  constraint webhook_attempts_pkey primary key (endpoint_id, delivery_id, attempt),
  constraint webhook_attempts_delivery_fkey foreign key (endpoint_id, delivery_id)
    references webhook_deliveries (endpoint_id, id) on delete cascade
);

-- For rows that a statement makes in numbers nobody knows beforehand (deliveries). Postgres 18 has uuidv7().
create function uuid_v7(at timestamptz) returns uuid language sql volatile parallel safe as $$
  select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    placing substring(int8send((extract(epoch from at) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$$;

grant select, insert, update, delete on webhook_endpoints to twinpay_service;
grant select, insert, update on webhook_deliveries to twinpay_service;
grant select, insert on webhook_attempts to twinpay_service;

update schema_version set version = 4;
