-- What a stage needs to know to refuse, to wait and to go on. Writers: the consumer loops (columns), strata stage
-- resume (stage_resumes), strata dlq and stg (status).

-- reached: the largest next_offset there ever was. Offsets may be set back to read again; what was made of the
-- records below stays true, so this is how far the next stage believes origins.
alter table ops.consumer_offsets add column reached bigint not null default 0;
update ops.consumer_offsets set reached = next_offset;

-- timestamp_ms: the record's own Kafka timestamp where it is none that record_dt can stand for.
alter table ops.dead_letters add column timestamp_ms bigint;
