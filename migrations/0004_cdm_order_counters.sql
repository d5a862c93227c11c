-- Data marts of the order stream. Writer: cdm.
create schema cdm;

-- Grain: one user and product. order_cnt: distinct orders, once CLOSED, that held the product.
create table cdm.user_product_counters (
    id bigint generated always as identity,
    user_id uuid not null,
    product_id uuid not null,
    product_name text not null,
    order_cnt bigint not null,
    constraint pk_user_product_counters primary key (id),
    constraint uq_user_product_counters_user_product unique (user_id, product_id),
    constraint ck_user_product_counters_order_cnt check (order_cnt > 0)
) with (fillfactor = 70);

-- Grain: one user and category. order_cnt: distinct orders, once CLOSED, that held the category.
create table cdm.user_category_counters (
    id bigint generated always as identity,
    user_id uuid not null,
    category_id uuid not null,
    category_name text not null,
    order_cnt bigint not null,
    constraint pk_user_category_counters primary key (id),
    constraint uq_user_category_counters_user_category unique (user_id, category_id),
    constraint ck_user_category_counters_order_cnt check (order_cnt > 0)
) with (fillfactor = 70);
