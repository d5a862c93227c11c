-- How far origins are believed: what the stage before has read, by partition, and the last replay (no partition).
-- $1 stage text and $2 topic text of the stage before, null where there is none · $3 stage text · $4 topic text
select
    partition,
    greatest(reached, next_offset)
from ops.consumer_offsets
where stage = $1
  and topic = $2
union all
select
    null,
    last_seq
from ops.replay_sequences
where stage = $3
  and topic = $4
