-- Forgets outputs that Kafka has acknowledged. $1 stage text · $2 topic text · $3 partition int[]
delete from ops.pending_outputs
where stage = $1
  and topic = $2
  and partition = any($3)
