-- check_invariants: journals, balances, totals, replies, events and sequences over the whole database, in one snapshot.
-- Always the same rows, one an invariant: how many rows were looked at, how many break it, and one of them.
with
journals as (
  select merchant_id, operation_id, currency, sum(amount) as total, count(*) as lines
  from ledger_entries
  group by merchant_id, operation_id, currency
),
folded as (
  select merchant_id, account, currency, sum(amount) as amount
  from ledger_entries
  group by merchant_id, account, currency
),
shown as (
  select merchant_id, account, currency, sum(amount) as amount
  from (
    select merchant_id, account, currency, amount
    from balances
    union all
    select e.merchant_id, e.account, e.currency, e.amount
    from ledger_tail t
    join ledger_entries e on e.merchant_id = t.merchant_id and e.operation_id = t.operation_id
  ) as parts
  group by merchant_id, account, currency
),
totals as (
  select merchant_id, payment_id,
    coalesce(sum(amount) filter (where kind in ('authorize', 'sale')), 0) as authorized,
    coalesce(sum(amount) filter (where kind in ('sale', 'capture')), 0) as captured,
    coalesce(sum(amount) filter (where kind = 'refund'), 0) as refunded
  from operations
  where state = 'succeeded'
  group by merchant_id, payment_id
),
due_events as (
  select merchant_id, id as operation_id, unnest(
    case when kind in ('authorize', 'sale') then array['payment.created'] else '{}' end
    || case
      when state = 'pending' then '{}'
      when state = 'failed' and kind in ('authorize', 'sale') then array['payment.declined']
      when state = 'failed' and kind = 'refund' then array['refund.failed']
      when state = 'failed' then array['payment.operation_failed']
      when kind = 'authorize' then array['payment.authorized']
      when kind = 'sale' then array['payment.authorized', 'payment.captured']
      when kind = 'capture' then array['payment.captured']
      when kind = 'void' then array['payment.voided']
      when kind = 'refund' then array['refund.succeeded']
    end) as type, 1 as due
  from operations
),
told_events as (
  select merchant_id, operation_id, type, count(*) as told
  from (
    select merchant_id, operation_id, type from outbox where operation_id is not null
    union all
    select merchant_id, operation_id, type from events where operation_id is not null
  ) as all_events
  group by merchant_id, operation_id, type
),
sequences as (
  select merchant_id, count(*) as number, min(sequence) as first, max(sequence) as last
  from events
  group by merchant_id
)
select
  'I1 journals sum to zero' as invariant,
  count(*) as looked_at,
  count(*) filter (where total <> 0) as violations,
  min(operation_id::text) filter (where total <> 0) as example
from journals
union all
select 'I2 balances are the fold of the entries', count(*),
  count(*) filter (where f.amount is distinct from s.amount),
  min(merchant_id::text) filter (where f.amount is distinct from s.amount)
from folded f
full join shown s using (merchant_id, account, currency)
union all
select 'I3 totals are in order and are the sum of the operations', count(*),
  count(*) filter (where broken), min(id::text) filter (where broken)
from (
  select p.id, not (0 <= p.refunded and p.refunded <= p.captured and p.captured <= p.authorized and p.authorized <= p.amount
    and p.authorized = coalesce(t.authorized, 0) and p.captured = coalesce(t.captured, 0)
    and p.refunded = coalesce(t.refunded, 0)) as broken
  from payments p
  left join totals t on t.merchant_id = p.merchant_id and t.payment_id = p.id
) as checked
union all
select 'I3 a payment is locked by its pending operation and by nothing else', count(*),
  count(*) filter (where p.pending_operation_id is distinct from o.id),
  min(coalesce(p.id, o.payment_id)::text) filter (where p.pending_operation_id is distinct from o.id)
from (select merchant_id, id, pending_operation_id from payments where pending_operation_id is not null) as p
full join (select merchant_id, payment_id, id from operations where state = 'pending') as o
  on o.merchant_id = p.merchant_id and o.payment_id = p.id
union all
select 'I3 each operation that moved money has one journal, of its amount', count(*),
  count(*) filter (where broken), min(operation_id::text) filter (where broken)
from (
  select coalesce(o.id, e.operation_id) as operation_id,
    o.id is null or e.operation_id is null or abs(e.amount) <> o.amount as broken
  from (select merchant_id, id, amount from operations where state = 'succeeded' and kind in ('sale', 'capture', 'refund')) as o
  full join (select merchant_id, operation_id, amount from ledger_entries where account = 'acquirer_receivable') as e
    on e.merchant_id = o.merchant_id and e.operation_id = o.id
) as checked
union all
select 'I4 a finished operation has its reply, a pending one has none', count(*),
  count(*) filter (where (o.state = 'pending') = (r.operation_id is not null)),
  min(o.id::text) filter (where (o.state = 'pending') = (r.operation_id is not null))
from operations o
join idempotency_keys k on k.merchant_id = o.merchant_id and k.operation_id = o.id
left join idempotency_replies r on r.operation_id = o.id
union all
select 'I8 one event a recorded change', count(*),
  count(*) filter (where d.due is distinct from t.told),
  min(operation_id::text) filter (where d.due is distinct from t.told)
from due_events d
full join told_events t using (merchant_id, operation_id, type)
union all
select 'I8 sequences have no gaps', count(*),
  count(*) filter (where s.first <> 1 or s.last <> s.number or s.last is distinct from c.last),
  min(s.merchant_id::text) filter (where s.first <> 1 or s.last <> s.number or s.last is distinct from c.last)
from sequences s
full join event_sequences c using (merchant_id)
order by invariant
