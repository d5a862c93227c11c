//! The raw layer against a real Postgres and a real Redis, without Kafka and other stages.

mod hanging_redis;
mod raw_orders;
