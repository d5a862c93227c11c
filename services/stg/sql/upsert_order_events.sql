-- The newest sent_dttm wins, of versions sent at one time the one that was loaded last; a copy changes nothing;
-- safe to repeat. $1 object_id bigint[] (sorted, each once) · $2 object_type text
-- $3 sent_dttm timestamptz[] · $4 payload text[] (JSON)
-- $5 load_dt timestamptz[] · $6 load_src text[] · $7 load_partition int[] · $8 load_offset bigint[]
insert into stg.order_events as stored (
    object_id, object_type, sent_dttm, payload, load_dt, load_src, load_partition, load_offset
)
select
    e.object_id,
    $2,
    e.sent_dttm,
    e.payload::jsonb,
    e.load_dt,
    e.load_src,
    e.load_partition,
    e.load_offset
from unnest($1::bigint[], $3::timestamptz[], $4::text[], $5::timestamptz[], $6::text[], $7::int[], $8::bigint[])
    as e (object_id, sent_dttm, payload, load_dt, load_src, load_partition, load_offset)
on conflict (object_id) do update
set
    object_type = excluded.object_type,
    sent_dttm = excluded.sent_dttm,
    payload = excluded.payload,
    load_dt = excluded.load_dt,
    load_src = excluded.load_src,
    load_partition = excluded.load_partition,
    load_offset = excluded.load_offset
where
    excluded.sent_dttm > stored.sent_dttm
    or (
        excluded.sent_dttm = stored.sent_dttm
        and excluded.payload <> stored.payload
        and (excluded.load_dt, excluded.load_offset, excluded.load_partition)
            > (coalesce(stored.load_dt, '-infinity'), stored.load_offset, stored.load_partition)
    )
