//! The raw layer against a real Postgres and a Redis behind a proxy.

mod hanging_redis;
