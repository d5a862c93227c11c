-- The first record of a click stands; safe to repeat. $1 event_id text[] (sorted, each once) · $2 click_dt timestamptz[]
-- $3 payload text[] (JSON) · $4 sent_dttm timestamptz[] · $5 load_src text[] · $6 load_partition int[]
-- $7 load_offset bigint[]
insert into stg.click_events (event_id, click_dt, payload, sent_dttm, load_src, load_partition, load_offset)
select
    e.event_id,
    e.click_dt,
    e.payload::jsonb,
    e.sent_dttm,
    e.load_src,
    e.load_partition,
    e.load_offset
from
    unnest(
        $1::text[], $2::timestamptz[], $3::text[], $4::timestamptz[], $5::text[], $6::int[], $7::bigint[]
    ) as e (event_id, click_dt, payload, sent_dttm, load_src, load_partition, load_offset)
on conflict (event_id) do nothing
