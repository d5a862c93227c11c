-- Keeps records that cannot be used; safe to repeat. $1 stream text · $2 stage text · $3 topic text · $4 partition int[]
-- $5 offset bigint[] · $6 Kafka timestamp bigint[] (Unix ms) · $7 key bytea[] · $8 payload bytea[] · $9 reason text[] · $10 detail text[]
insert into ops.dead_letters (stream, stage, topic, partition, "offset", record_dt, key, payload, reason, detail)
select
    $1,
    $2,
    $3,
    d.partition,
    d."offset",
    to_timestamp(d.record_ms / 1000.0),
    d.key,
    d.payload,
    d.reason,
    d.detail
from unnest($4::int[], $5::bigint[], $6::bigint[], $7::bytea[], $8::bytea[], $9::text[], $10::text[])
    as d (partition, "offset", record_ms, key, payload, reason, detail)
on conflict (stage, topic, partition, "offset") do nothing
