-- The log of what happened, in the order in which merchants are told.

-- Insert-only. sequence has no gaps within a merchant.
create table events (
  merchant_id uuid not null,
  sequence bigint not null,
  id uuid not null,
  operation_id uuid,
  type text not null,
  data text not null,
  traceparent text,
  created_at timestamptz not null,
  constraint events_pkey primary key (merchant_id, sequence),
  constraint events_id_key unique (merchant_id, id)
);

create table event_sequences (
  merchant_id uuid not null,
  last bigint not null,
  constraint event_sequences_pkey primary key (merchant_id)
) with (fillfactor = 50);

-- Who may do what only one may do at a time. token goes up with each change of holder.
create table leases (
  name text not null,
  holder uuid,
  token bigint not null default 0,
  expires_at timestamptz not null,
  constraint leases_pkey primary key (name)
) with (fillfactor = 50);
insert into leases (name, expires_at) values ('relay', '-infinity');

grant select, insert on events to twinpay_service;
grant select, insert, update on event_sequences to twinpay_service;
grant select, update on leases to twinpay_service;
grant delete on outbox to twinpay_service; -- publish_events

update schema_version set version = 3;
