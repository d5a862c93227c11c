-- The offsets as they stand, without a lock. $1 stage text · $2 topic text · $3 partition int[]
select
    partition,
    next_offset
from ops.consumer_offsets
where stage = $1
  and topic = $2
  and partition = any($3)
