-- Where the stored version of an order came from, so that dds can be rebuilt with the rows it had. Writer: stg.
-- load_dt: Kafka timestamp of the record. load_src, load_partition, load_offset: its coordinates. All null in
-- rows that are older than this file.
alter table stg.order_events
    add column load_dt timestamptz,
    add column load_src text,
    add column load_partition int,
    add column load_offset bigint;
