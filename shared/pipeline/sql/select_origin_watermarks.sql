-- Last applied origins. $1 stage text · $2 topic text · $3 partition int[]
select
    partition,
    origin_topic,
    origin_partition,
    last_offset
from ops.origin_watermarks
where stage = $1
  and topic = $2
  and partition = any($3)
