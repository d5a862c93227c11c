-- The hotel-search stream in the raw layer and in the Data Vault. Writers: stg, dds.
-- The fold of the metrics reads link and satellite whole and joins them by key, so neither has further
-- b-trees; block ranges of the search time cost an insert nothing and serve reports over a period.

-- Grain: one search, by event_id; the first record stands. Writer: stg.
-- payload is the record as received, sent_dttm its Kafka timestamp.
create table stg.hotel_search_events (
    id bigint generated always as identity,
    event_id text not null,
    user_id uuid not null,
    hotel_id text not null,
    search_dt timestamptz not null,
    payload jsonb not null,
    sent_dttm timestamptz not null,
    constraint pk_hotel_search_events primary key (id),
    constraint uq_hotel_search_events_event_id unique (event_id)
);

-- Hubs. Grain: one business key. Writer: dds. Users share dds.h_user, their user_id being the uuid as text.
create table dds.h_hotel (
    h_hotel_pk uuid not null,
    hotel_id text not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_h_hotel primary key (h_hotel_pk)
);

create table dds.h_advertiser (
    h_advertiser_pk uuid not null,
    advertiser_name text not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_h_advertiser primary key (h_advertiser_pk)
);

-- Non-historised link. Grain: one search, by event_id; who searched for which hotel, and when. Writer: dds.
create table dds.l_hotel_search (
    hk_hotel_search_pk uuid not null,
    event_id text not null,
    h_user_pk uuid not null,
    h_hotel_pk uuid not null,
    search_dt timestamptz not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_l_hotel_search primary key (hk_hotel_search_pk)
);
create index ix_l_hotel_search_search_dt on dds.l_hotel_search using brin (search_dt);

-- Satellite of the link. Grain: one search, which never changes. Writer: dds, with the link's row.
-- advertisers: each once, in name order. min_price in euro cents; null where no offer was usable.
create table dds.s_hotel_search_offers (
    hk_hotel_search_pk uuid not null,
    advertisers text[] not null,
    min_price bigint,
    min_advertiser text,
    load_dt timestamptz not null,
    load_seq bigint not null,
    load_src text not null,
    hk_hotel_search_offers_hashdiff uuid not null,
    constraint pk_s_hotel_search_offers primary key (hk_hotel_search_pk, load_dt, load_seq),
    constraint ck_s_hotel_search_offers_min_price check (min_price > 0),
    constraint ck_s_hotel_search_offers_min_offer check ((min_price is null) = (min_advertiser is null))
);
