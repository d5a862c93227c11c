-- Where a stage stands, one row a partition it has read. $1 stage text · $2 topic text · $3 partition int[]
select
    o.partition,
    o.next_offset,
    p.outputs
from ops.consumer_offsets as o
left join ops.pending_outputs as p using (stage, topic, partition)
where o.stage = $1
  and o.topic = $2
  and o.partition = any($3)
