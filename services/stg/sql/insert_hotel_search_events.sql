-- The first record of a search stands; safe to repeat. $1 event_id text[] (sorted, each once) · $2 user_id uuid[]
-- $3 hotel_id text[] · $4 search_dt timestamptz[] · $5 payload text[] (JSON) · $6 sent_dttm timestamptz[]
-- $7 load_src text[] · $8 load_partition int[] · $9 load_offset bigint[]
insert into stg.hotel_search_events (
    event_id, user_id, hotel_id, search_dt, payload, sent_dttm, load_src, load_partition, load_offset
)
select
    e.event_id,
    e.user_id,
    e.hotel_id,
    e.search_dt,
    e.payload::jsonb,
    e.sent_dttm,
    e.load_src,
    e.load_partition,
    e.load_offset
from
    unnest(
        $1::text[], $2::uuid[], $3::text[], $4::timestamptz[], $5::text[], $6::timestamptz[],
        $7::text[], $8::int[], $9::bigint[]
    ) as e (event_id, user_id, hotel_id, search_dt, payload, sent_dttm, load_src, load_partition, load_offset)
on conflict (event_id) do nothing
