-- When a stage first met a partition: what lay in the others when partitions were added may have been overtaken.
-- Writer: the stages. Reader: strata reconcile.

-- Partitions that are known already were there from the beginning.
alter table ops.consumer_offsets add column since timestamptz not null default '-infinity';
alter table ops.consumer_offsets alter column since set default now();
