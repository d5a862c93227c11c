-- Moves the locked offsets. $1 stage text · $2 topic text · $3 partition int[] · $4 next_offset bigint[]
update ops.consumer_offsets as o
set
    next_offset = n.next_offset,
    reached = greatest(o.reached, n.next_offset),
    updated_at = now()
from unnest($3::int[], $4::bigint[]) as n (partition, next_offset)
where o.stage = $1
  and o.topic = $2
  and o.partition = n.partition
