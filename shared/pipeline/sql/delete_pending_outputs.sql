-- Forgets outputs that Kafka has acknowledged, unless the offset moved since: then they are another
-- batch's. The offset rows are locked, so that no batch can move them meanwhile.
-- $1 stage text · $2 topic text · $3 partition int[] · $4 next_offset bigint[]
with owned as (
    select o.partition
    from ops.consumer_offsets as o
    join unnest($3::int[], $4::bigint[]) as n (partition, next_offset)
        on n.partition = o.partition and n.next_offset = o.next_offset
    where o.stage = $1
      and o.topic = $2
    order by o.partition
    for update of o
)
delete from ops.pending_outputs as p
using owned
where p.stage = $1
  and p.topic = $2
  and p.partition = owned.partition
