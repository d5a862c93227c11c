-- A user's counters, most ordered first, with their total number in every row. $1 user_id uuid · $2 limit bigint
select
    category_id,
    category_name,
    order_cnt,
    count(*) over ()
from cdm.user_category_counters
where user_id = $1
order by
    order_cnt desc,
    category_id
limit $2
