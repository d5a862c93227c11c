-- What the rebuilds need to know. Writers: strata rebuild (rebuilt_origins), stg (the columns).

-- Grain: one partition of origins, of a stage whose data were counted anew from the vault. What came of its
-- records up to last_offset is counted, whether the stage applied it or refused it: such dead letters need
-- no replay. A later rebuild moves it on.
create table ops.rebuilt_origins (
    stage text not null,
    topic text not null,
    origin_topic text not null,
    origin_partition int not null,
    last_offset bigint not null,
    constraint pk_rebuilt_origins primary key (stage, topic, origin_topic, origin_partition)
);

-- Coordinates of the record that a search came with, so that dds can be rebuilt with the rows it had. Its
-- Kafka timestamp is sent_dttm. All null in rows that are older than this file.
alter table stg.hotel_search_events
    add column load_src text,
    add column load_partition int,
    add column load_offset bigint;
