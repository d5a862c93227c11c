-- The newest sent_dttm wins; safe to repeat. $1 object_id bigint[] (sorted, each once) · $2 object_type text
-- $3 sent_dttm timestamptz[] · $4 payload text[] (JSON)
insert into stg.order_events as stored (object_id, object_type, sent_dttm, payload)
select
    e.object_id,
    $2,
    e.sent_dttm,
    e.payload::jsonb
from unnest($1::bigint[], $3::timestamptz[], $4::text[]) as e (object_id, sent_dttm, payload)
on conflict (object_id) do update
set
    object_type = excluded.object_type,
    sent_dttm = excluded.sent_dttm,
    payload = excluded.payload
where excluded.sent_dttm > stored.sent_dttm
