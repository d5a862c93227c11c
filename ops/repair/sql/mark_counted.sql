-- Notes what a rebuild has counted, so that no dead letter of it is counted once more.
-- $1 stage text · $2 topic text · $3 origin_topic text · $4 origin_partition int[] · $5 last_offset bigint[]
with counted as (
    select *
    from unnest($4::int[], $5::bigint[]) as c (origin_partition, last_offset)
),
noted as (
    insert into ops.rebuilt_origins (stage, topic, origin_topic, origin_partition, last_offset)
    select
        $1,
        $2,
        $3,
        c.*
    from counted as c
    on conflict (stage, topic, origin_topic, origin_partition) do update
    set last_offset = excluded.last_offset
)
update ops.dead_letters as d
set status = 'replayed'
from counted as c
where d.stage = $1
  and d.topic = $2
  and d.status in ('open', 'discarded')
  and split_part(coalesce(d.source, d.origin), '/', 1) = $3
  and split_part(coalesce(d.source, d.origin), '/', 2)::int = c.origin_partition
  and split_part(coalesce(d.source, d.origin), '/', 3)::bigint <= c.last_offset
