//! What is spoilt in the counters and in what the fleet knows of itself: one row at a time, and what must be said of it.

use super::victims::{NOTHING, Spoilt, spoilt};

/// A dead letter of stg.
const DEAD_LETTER: &str =
    "select id::text from ops.dead_letters where stage = 'stg' and stream = 'order' order by id limit 1";

/// Rows of counters, positions, outputs and dead letters.
pub const IN_COUNTERS: &[Spoilt] = &[
    // cdm
    spoilt(
        "cdm.user_product_counters",
        "select min(id)::text from cdm.user_product_counters",
        "update cdm.user_product_counters set order_cnt = order_cnt + 1 where id = {}",
        "user_product_counters: user",
    ),
    spoilt(
        "cdm.user_product_counters",
        "select min(id)::text from cdm.user_product_counters",
        "delete from cdm.user_product_counters where id = {}",
        ": no row, ",
    ),
    spoilt(
        "cdm.user_product_counters",
        "select min(id)::text from cdm.user_product_counters",
        "update cdm.user_product_counters set product_name = 'x' where id = {}",
        "was never called x",
    ),
    spoilt(
        "cdm.user_product_counters",
        NOTHING,
        "insert into cdm.user_product_counters (user_id, product_id, product_name, order_cnt) \
         values ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002', 'x', 1)",
        "user 00000000-0000-0000-0000-000000000001",
    ),
    spoilt(
        "cdm.user_category_counters",
        "select min(id)::text from cdm.user_category_counters",
        "update cdm.user_category_counters set order_cnt = order_cnt + 1 where id = {}",
        "user_category_counters: user",
    ),
    spoilt(
        "cdm.user_category_counters",
        "select min(id)::text from cdm.user_category_counters",
        "update cdm.user_category_counters set category_name = 'x' where id = {}",
        "was never called x",
    ),
    // ops
    spoilt(
        "ops.consumer_offsets",
        "select topic from ops.consumer_offsets where stage = 'stg' and topic like 'stg%' limit 1",
        "update ops.consumer_offsets set next_offset = next_offset + 1000000 where topic = '{}' and partition = 0",
        "stg stands at {}/0/1000",
    ),
    spoilt(
        "ops.consumer_offsets",
        "select topic from ops.consumer_offsets where stage = 'dds' and topic like 'dds%' limit 1",
        "delete from ops.consumer_offsets where topic = '{}' and partition = 0",
        "dds stands nowhere in {}/0",
    ),
    spoilt(
        "ops.consumer_offsets",
        "select topic from ops.consumer_offsets where stage = 'dds' and topic like 'dds%' limit 1",
        "update ops.consumer_offsets set next_offset = 0 where topic = '{}' and partition = 0",
        "applied {}/0/",
    ),
    spoilt(
        "ops.consumer_offsets",
        "select topic from ops.consumer_offsets where stage = 'stg' and topic like 'stg%' limit 1",
        "update ops.consumer_offsets set next_offset = 0 where topic = '{}' and partition = 0",
        "came with {}/0/",
    ),
    spoilt(
        "ops.origin_watermarks",
        "select topic from ops.origin_watermarks limit 1",
        "update ops.origin_watermarks set last_offset = last_offset + 1000000 where ctid = (select min(ctid) from ops.origin_watermarks where topic = '{}')",
        ": applied dds_topic",
    ),
    spoilt(
        "ops.pending_outputs",
        "select topic from ops.consumer_offsets where stage = 'stg' limit 1",
        "insert into ops.pending_outputs values ('stg', '{}', 0, '\\x00')",
        "stg of {}/0 cannot be read",
    ),
    spoilt(
        "ops.dead_letters",
        DEAD_LETTER,
        "delete from ops.dead_letters where id = {}",
        "and is no dead letter",
    ),
    spoilt(
        "ops.dead_letters",
        DEAD_LETTER,
        "update ops.dead_letters set payload = 'another' where id = {}",
        "ops.dead_letters: {} holds another body",
    ),
    spoilt(
        "ops.dead_letters",
        DEAD_LETTER,
        "update ops.dead_letters set \"offset\" = \"offset\" + 1000000 where id = {}",
        "ops.dead_letters: {} is ",
    ),
    spoilt(
        "ops.dead_letters",
        DEAD_LETTER,
        "update ops.dead_letters set \"offset\" = -id - 1 where id = {}",
        "which is neither one nor its number",
    ),
    spoilt(
        "ops.dead_letters",
        DEAD_LETTER,
        "update ops.dead_letters set replay_seq = 9 where id = {}",
        "ops.dead_letters: {} is replay 9",
    ),
    spoilt(
        "ops.dead_letters",
        "select id::text from ops.dead_letters where stage = 'cdm' and stream = 'hotel_search' order by id limit 1",
        "update ops.dead_letters set \"offset\" = \"offset\" + 1000000 where id = {}",
        "ops.dead_letters: {} is ",
    ),
];
