-- Adds orders to counters. Not idempotent. $1 user_id uuid[] · $2 category_id uuid[] (pairs sorted, each once)
-- $3 category_name text[] · $4 orders bigint[]
insert into cdm.user_category_counters as stored (user_id, category_id, category_name, order_cnt)
select *
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[])
on conflict (user_id, category_id) do update
set
    category_name = excluded.category_name,
    order_cnt = stored.order_cnt + excluded.order_cnt
