-- Safe to repeat. $1 parent uuid[] (sorted, each once) · $2 load_dt timestamptz[] · $3 load_seq bigint[]
-- $4 load_src text[] · $5 hashdiff uuid[] · $6 advertisers text[] (each the text of an array)
-- $7 min_price bigint[] · $8 min_advertiser text[]
insert into dds.s_hotel_search_offers (
    hk_hotel_search_pk,
    load_dt,
    load_seq,
    load_src,
    hk_hotel_search_offers_hashdiff,
    advertisers,
    min_price,
    min_advertiser
)
select
    o.parent,
    o.load_dt,
    o.load_seq,
    o.load_src,
    o.hashdiff,
    o.advertisers::text[],
    o.min_price,
    o.min_advertiser
from
    unnest(
        $1::uuid[],
        $2::timestamptz[],
        $3::bigint[],
        $4::text[],
        $5::uuid[],
        $6::text[],
        $7::bigint[],
        $8::text[]
    ) as o (parent, load_dt, load_seq, load_src, hashdiff, advertisers, min_price, min_advertiser)
on conflict do nothing
