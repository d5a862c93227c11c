-- Makes one table of counters the fold over the vault: common table expressions of a statement that has all tables of a
-- stream. :by, :table, :key stand for the counters, :law for their law and :names for the names of what is counted.
fold_:by as materialized (
    select
        f.user_id,
        f.thing_id,
        coalesce(n.thing_name, f.thing_id::text) as thing_name,
        f.order_cnt
    from (:law) as f (user_id, thing_id, order_cnt)
    left join (:names) as n (thing_id, thing_name) using (thing_id)
),
gone_:by as (
    delete from :table as c
    where not exists (
        select
        from fold_:by as f
        where f.user_id = c.user_id
          and f.thing_id = c.:by_id
    )
    returning c.id
),
wrong_:by as (
    insert into :table as stored (user_id, :by_id, :by_name, order_cnt)
    select f.*
    from fold_:by as f
    left join :table as c on c.user_id = f.user_id and c.:by_id = f.thing_id
    where (c.:by_name, c.order_cnt) is distinct from (f.thing_name, f.order_cnt)
    on conflict (:key) do update
    set
        :by_name = excluded.:by_name,
        order_cnt = excluded.order_cnt
    returning stored.id
)
