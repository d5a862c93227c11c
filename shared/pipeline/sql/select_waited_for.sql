-- The references that parked records wait for first, in order, each once, and whether a replay of such records was
-- interrupted. $1 stage text · $2 topic text · $3 the reference after which to begin text · $4 references at most bigint
with recursive waited_for (reference) as (
    (
        select d.waits_for[1]
        from ops.dead_letters as d
        where d.stage = $1
          and d.topic = $2
          and d.status = 'parked'
          and d.waits_for[1] > $3
        order by d.waits_for[1]
        limit 1
    )
    union all
    select (
        select d.waits_for[1]
        from ops.dead_letters as d
        where d.stage = $1
          and d.topic = $2
          and d.status = 'parked'
          and d.waits_for[1] > w.reference
        order by d.waits_for[1]
        limit 1
    )
    from waited_for as w
    where w.reference is not null
)
select
    array(select w.reference from waited_for as w where w.reference is not null limit $4),
    exists (
        select
        from ops.dead_letters as d
        where d.status = 'replaying'
          and d.stage = $1
          and d.topic = $2
          and d.waits_for is not null
    )
