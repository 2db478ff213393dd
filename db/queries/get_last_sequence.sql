-- get_last_sequence: where a stream begins that asks for nothing earlier.
-- Always one row; 0 where nothing was published yet.
-- $1 merchant_id
select coalesce((select s.last from event_sequences s where s.merchant_id = $1), 0) as last
