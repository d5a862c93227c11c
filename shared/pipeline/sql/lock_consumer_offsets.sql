-- Locks the offsets of a batch, in order. $1 stage text · $2 topic text · $3 partition int[]
select
    partition,
    next_offset
from ops.consumer_offsets
where stage = $1
  and topic = $2
  and partition = any($3)
order by partition
for update
