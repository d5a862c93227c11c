-- Whether any session of this database holds an advisory lock. $1 its number
select exists (
    select
    from pg_locks
    where locktype = 'advisory'
    and database = (select oid from pg_database where datname = current_database())
    and classid = (($1::bigint >> 32) & 4294967295)::oid
    and objid = ($1::bigint & 4294967295)::oid
    and objsubid = 1
    and granted
)
