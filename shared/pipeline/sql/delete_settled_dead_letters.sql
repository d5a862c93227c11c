-- Removes dead letters of a stage that were settled long ago, the oldest first; see src/retention.rs for which.
-- $1 stage text · $2 topic text · $3 moment timestamptz · $4 true where nobody of ours writes the topic boolean
-- $5 most rows bigint
delete from ops.dead_letters
where id in (
    select d.id
    from ops.dead_letters as d
    where d.stage = $1
      and d.topic = $2
      and d.status in ('replayed', 'discarded')
      and (d.status = 'replayed' or $4)
      and d.settled_at < $3
      and d.record_dt < $3
      and not exists (
          select
          from ops.dead_letters as o
          where o.stage = d.stage
            and o.topic = d.topic
            and o.origin = d.origin
            and o.status not in ('replayed', 'discarded')
      )
    order by d.settled_at
    limit $5
    for update of d skip locked
)
