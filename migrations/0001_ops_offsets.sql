-- What the fleet knows about itself. Writer: the consumer loop of every service.
create schema ops;

-- Grain: one partition a stage reads. The offset moves in the transaction that stores the data.
create table ops.consumer_offsets (
    stage text not null,
    topic text not null,
    partition int not null,
    next_offset bigint not null,
    updated_at timestamptz not null default now(),
    constraint pk_consumer_offsets primary key (stage, topic, partition),
    constraint ck_consumer_offsets_next_offset check (next_offset >= 0)
) with (fillfactor = 50);

-- Grain: one partition a stage reads. Outputs of its last batch until Kafka has acknowledged them,
-- compressed by the writer.
create table ops.pending_outputs (
    stage text not null,
    topic text not null,
    partition int not null,
    outputs bytea not null,
    constraint pk_pending_outputs primary key (stage, topic, partition)
);
alter table ops.pending_outputs alter column outputs set storage external;

-- Grain: one (partition read, partition it was made from). A record whose origin is not newer was applied.
create table ops.origin_watermarks (
    stage text not null,
    topic text not null,
    partition int not null,
    origin_topic text not null,
    origin_partition int not null,
    last_offset bigint not null,
    constraint pk_origin_watermarks primary key (stage, topic, partition, origin_topic, origin_partition)
) with (fillfactor = 50);

-- Grain: one record that a stage could not use, kept as it came.
create table ops.dead_letters (
    id bigint generated always as identity,
    stream text not null,
    stage text not null,
    topic text not null,
    partition int not null,
    "offset" bigint not null,
    record_dt timestamptz not null,
    key bytea,
    payload bytea not null,
    reason text not null,
    detail text not null,
    first_seen timestamptz not null default now(),
    attempts int not null default 1,
    status text not null default 'open',
    constraint pk_dead_letters primary key (id),
    constraint uq_dead_letters_record unique (stage, topic, partition, "offset"),
    constraint ck_dead_letters_status check (status in ('open', 'replayed', 'discarded'))
);
