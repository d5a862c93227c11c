-- Data Vault of the order stream, insert-only. Writer: dds.
-- load_dt is the Kafka timestamp of the first record, never now(): a replay writes the same row.
create schema dds;

-- Hubs. Grain: one business key.
create table dds.h_user (
    h_user_pk uuid not null,
    user_id text not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_h_user primary key (h_user_pk)
);

create table dds.h_product (
    h_product_pk uuid not null,
    product_id text not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_h_product primary key (h_product_pk)
);

create table dds.h_category (
    h_category_pk uuid not null,
    category_name text not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_h_category primary key (h_category_pk)
);

create table dds.h_restaurant (
    h_restaurant_pk uuid not null,
    restaurant_id text not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_h_restaurant primary key (h_restaurant_pk)
);

create table dds.h_order (
    h_order_pk uuid not null,
    order_id bigint not null,
    order_dt timestamptz not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_h_order primary key (h_order_pk)
);

-- Links. Grain: one pair of hub keys. No foreign keys: every load writes hubs first, in the same
-- transaction, and a check a row would cost a lookup a row.
create table dds.l_order_product (
    hk_order_product_pk uuid not null,
    h_order_pk uuid not null,
    h_product_pk uuid not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_l_order_product primary key (hk_order_product_pk)
);
create index ix_l_order_product_order on dds.l_order_product (h_order_pk);

create table dds.l_product_restaurant (
    hk_product_restaurant_pk uuid not null,
    h_product_pk uuid not null,
    h_restaurant_pk uuid not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_l_product_restaurant primary key (hk_product_restaurant_pk)
);

create table dds.l_product_category (
    hk_product_category_pk uuid not null,
    h_product_pk uuid not null,
    h_category_pk uuid not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_l_product_category primary key (hk_product_category_pk)
);
create index ix_l_product_category_product on dds.l_product_category (h_product_pk);

create table dds.l_order_user (
    hk_order_user_pk uuid not null,
    h_order_pk uuid not null,
    h_user_pk uuid not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_l_order_user primary key (hk_order_user_pk)
);
create index ix_l_order_user_order on dds.l_order_user (h_order_pk);

-- Which categories an order held when it was placed: menus move dishes, facts do not.
create table dds.l_order_category (
    hk_order_category_pk uuid not null,
    h_order_pk uuid not null,
    h_category_pk uuid not null,
    load_dt timestamptz not null,
    load_src text not null,
    constraint pk_l_order_category primary key (hk_order_category_pk)
);
create index ix_l_order_category_order on dds.l_order_category (h_order_pk);

-- Satellites. Grain: one change of a parent. load_seq orders records within a millisecond.
create table dds.s_user_names (
    h_user_pk uuid not null,
    username text not null,
    userlogin text not null,
    load_dt timestamptz not null,
    load_seq bigint not null,
    load_src text not null,
    hk_user_names_hashdiff uuid not null,
    constraint pk_s_user_names primary key (h_user_pk, load_dt, load_seq)
);

create table dds.s_product_names (
    h_product_pk uuid not null,
    name text not null,
    load_dt timestamptz not null,
    load_seq bigint not null,
    load_src text not null,
    hk_product_names_hashdiff uuid not null,
    constraint pk_s_product_names primary key (h_product_pk, load_dt, load_seq)
);

create table dds.s_restaurant_names (
    h_restaurant_pk uuid not null,
    name text not null,
    load_dt timestamptz not null,
    load_seq bigint not null,
    load_src text not null,
    hk_restaurant_names_hashdiff uuid not null,
    constraint pk_s_restaurant_names primary key (h_restaurant_pk, load_dt, load_seq)
);

create table dds.s_order_cost (
    h_order_pk uuid not null,
    cost numeric(19, 5) not null,
    payment numeric(19, 5) not null,
    load_dt timestamptz not null,
    load_seq bigint not null,
    load_src text not null,
    hk_order_cost_hashdiff uuid not null,
    constraint pk_s_order_cost primary key (h_order_pk, load_dt, load_seq),
    constraint ck_s_order_cost_cost check (cost >= 0),
    constraint ck_s_order_cost_payment check (payment >= 0)
);

create table dds.s_order_status (
    h_order_pk uuid not null,
    status text not null,
    load_dt timestamptz not null,
    load_seq bigint not null,
    load_src text not null,
    hk_order_status_hashdiff uuid not null,
    constraint pk_s_order_status primary key (h_order_pk, load_dt, load_seq)
);
