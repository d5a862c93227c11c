-- Dead letters that can be put through their stage again. Writers: the consumer loops (origin, source,
-- event_id), strata dlq and strata rebuild (the rest).
-- origin: the record's origin header. source: the record that started the event's way, where that is another.
-- replay_seq: number of the replay within stage and topic; the replayed record's origin is <topic>.dlq/0/<replay_seq>.
-- replaying: numbered, and perhaps sent; replayed: Kafka holds it.
alter table ops.dead_letters
    add column origin text,
    add column source text,
    add column event_id text,
    add column replay_seq bigint,
    drop constraint ck_dead_letters_status,
    add constraint ck_dead_letters_status check (status in ('open', 'replaying', 'replayed', 'discarded')),
    add constraint ck_dead_letters_replay_seq check (replay_seq is not null or status <> 'replaying'),
    add constraint uq_dead_letters_replay_seq unique (stage, topic, replay_seq);
create index ix_dead_letters_origin on ops.dead_letters (stage, topic, origin) where origin is not null;
create index ix_dead_letters_status on ops.dead_letters (status, id);

-- Grain: one topic of a stage. The last replay number given out; never goes back, whatever is deleted above.
create table ops.replay_sequences (
    stage text not null,
    topic text not null,
    last_seq bigint not null,
    constraint pk_replay_sequences primary key (stage, topic)
);
