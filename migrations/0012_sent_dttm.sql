-- When the source sent the version of an order that a satellite row came with. Writer: dds.
-- The version in force is the one with the newest sent_dttm, nulls being the oldest; then the newest load_dt, load_seq.
-- Null where the record did not say, and in rows that are older than this file.
alter table dds.s_order_cost add column sent_dttm timestamptz;
alter table dds.s_order_status add column sent_dttm timestamptz;
