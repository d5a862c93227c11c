-- Makes the counters the fold over the vault, in the caller's transaction, while nobody else can change them.
-- One statement, so that the fold and dds' offsets are of one moment. $1 topic that dds reads. :products and
-- :categories stand for the law of the counters, which the stream states.
-- Returns counters by product, how many of them were wrong; the same by category; dds' partitions and offsets.
with products as materialized (
    select
        f.user_id,
        f.product_id,
        coalesce(n.name, f.product_id::text) as product_name,
        f.order_cnt
    from (:products) as f (user_id, product_id, order_cnt)
    left join (
        select distinct on (h_product_pk)
            h_product_pk,
            name
        from dds.s_product_names
        order by
            h_product_pk,
            load_dt desc,
            load_seq desc
    ) as n on n.h_product_pk = f.product_id
),
categories as materialized (
    select
        f.user_id,
        f.category_id,
        coalesce(h.category_name, f.category_id::text) as category_name,
        f.order_cnt
    from (:categories) as f (user_id, category_id, order_cnt)
    left join dds.h_category as h on h.h_category_pk = f.category_id
),
gone_products as (
    delete from cdm.user_product_counters as c
    where not exists (
        select
        from products as p
        where p.user_id = c.user_id
          and p.product_id = c.product_id
    )
    returning c.id
),
gone_categories as (
    delete from cdm.user_category_counters as c
    where not exists (
        select
        from categories as p
        where p.user_id = c.user_id
          and p.category_id = c.category_id
    )
    returning c.id
),
wrong_products as (
    insert into cdm.user_product_counters as stored (user_id, product_id, product_name, order_cnt)
    select p.*
    from products as p
    left join cdm.user_product_counters as c using (user_id, product_id)
    where (c.product_name, c.order_cnt) is distinct from (p.product_name, p.order_cnt)
    on conflict (user_id, product_id) do update
    set
        product_name = excluded.product_name,
        order_cnt = excluded.order_cnt
    returning stored.id
),
wrong_categories as (
    insert into cdm.user_category_counters as stored (user_id, category_id, category_name, order_cnt)
    select p.*
    from categories as p
    left join cdm.user_category_counters as c using (user_id, category_id)
    where (c.category_name, c.order_cnt) is distinct from (p.category_name, p.order_cnt)
    on conflict (user_id, category_id) do update
    set
        category_name = excluded.category_name,
        order_cnt = excluded.order_cnt
    returning stored.id
),
"read" as (
    select
        partition,
        next_offset
    from ops.consumer_offsets
    where stage = 'dds'
      and topic = $1
)
select
    (select count(*) from products),
    (select count(*) from gone_products) + (select count(*) from wrong_products),
    (select count(*) from categories),
    (select count(*) from gone_categories) + (select count(*) from wrong_categories),
    array(select partition from "read" order by partition),
    array(select next_offset from "read" order by partition)
