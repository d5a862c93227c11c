-- The click stream in the raw layer and in the Data Vault. Writers: stg, dds.

-- Grain: one click, by event_id; the first record stands. Writer: stg.
-- payload is the record as received, an object or an array of eight; sent_dttm its Kafka timestamp.
create table stg.click_events (
    id bigint generated always as identity,
    event_id text not null,
    click_dt timestamptz not null,
    payload jsonb not null,
    sent_dttm timestamptz not null,
    load_src text not null,
    load_partition int not null,
    load_offset bigint not null,
    constraint pk_click_events primary key (event_id)
);

-- Hubs. Grain: one business key. Writer: dds. Users share dds.h_user.
create table dds.h_page (
    h_page_pk uuid not null,
    url text not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_h_page primary key (h_page_pk)
);

create table dds.h_country (
    h_country_pk uuid not null,
    country_name text not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_h_country primary key (h_country_pk)
);

-- Non-historised link. Grain: one click, by event_id; who opened which page, from where, and when. Writer: dds.
create table dds.l_click (
    hk_click_pk uuid not null,
    event_id text not null,
    h_user_pk uuid not null,
    h_page_pk uuid not null,
    h_country_pk uuid not null,
    click_dt timestamptz not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_l_click primary key (hk_click_pk)
);
create index ix_l_click_click_dt on dds.l_click using brin (click_dt);

-- Satellite of the link. Grain: one click, which never changes. Writer: dds, with the link's row.
-- Empty texts where nobody knows.
create table dds.s_click_clients (
    hk_click_pk uuid not null,
    city text not null,
    browser text not null,
    os text not null,
    device text not null,
    load_dt timestamptz not null,
    load_seq bigint not null,
    load_src text not null,
    hk_click_clients_hashdiff uuid not null,
    constraint pk_s_click_clients primary key (hk_click_pk, load_dt, load_seq)
);
