-- Users whose counters grew a new row last, newest first. $1 limit
select u.user_id
from (
    select user_id, id
    from cdm.user_product_counters
    order by id desc
    limit 100
) as newest
join dds.h_user as u on u.h_user_pk = newest.user_id
group by u.user_id
order by max(newest.id) desc
limit $1
