-- The first sighting wins; safe to repeat. $1 key uuid[] (sorted, each once) · $2 event_id text[]
-- $3, $4 hub keys uuid[] · $5 search_dt timestamptz[] · $6 load_dt timestamptz[] · $7 load_src text[]
insert into dds.l_hotel_search (
    hk_hotel_search_pk,
    event_id,
    h_user_pk,
    h_hotel_pk,
    search_dt,
    load_dt,
    load_src
)
select *
from unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::timestamptz[], $6::timestamptz[], $7::text[])
on conflict (hk_hotel_search_pk) do nothing
returning hk_hotel_search_pk
