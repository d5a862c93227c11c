-- Numbers of replays given out since the copy was made lie in Kafka; the next ones lie above all of them.
-- $1 stage text · $2 topic text · $3 numbers to leave out bigint
insert into ops.replay_sequences (stage, topic, last_seq)
values ($1, $2, $3)
on conflict (stage, topic) do update
set last_seq = replay_sequences.last_seq + excluded.last_seq
