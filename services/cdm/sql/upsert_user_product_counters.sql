-- Adds orders to counters. Not idempotent. $1 user_id uuid[] · $2 product_id uuid[] (pairs sorted, each once)
-- $3 product_name text[] · $4 orders bigint[]
insert into cdm.user_product_counters as stored (user_id, product_id, product_name, order_cnt)
select *
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[])
on conflict (user_id, product_id) do update
set
    product_name = excluded.product_name,
    order_cnt = stored.order_cnt + excluded.order_cnt
