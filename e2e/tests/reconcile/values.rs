//! What is spoilt in Redis: one value at a time, and what must be said of it. `{}` stands for the victim.

use super::victims::{HOTEL, NOTHING};

/// Key of Redis below the metrics, command, what must be named, and the command that undoes it.
pub type SpoiltValue =
    (&'static str, &'static str, &'static [&'static str], &'static str, &'static [&'static str]);

/// The user who searched once.
const SEARCHER: &str = "select u.user_id from dds.l_hotel_search as l join dds.h_user as u using (h_user_pk) \
     where l.event_id = 'once'";
/// A hotel whose cheapest offer of Amoma costs at least 5000 euro cents.
const CHEAP: &str = "select h.hotel_id from dds.l_hotel_search as l join dds.h_hotel as h using (h_hotel_pk) \
     join dds.s_hotel_search_offers as s using (hk_hotel_search_pk) where s.min_advertiser = 'Amoma' \
     and s.min_price >= 5000 order by h.hotel_id limit 1";

/// Values of Redis.
pub const IN_REDIS: &[SpoiltValue] = &[
    (
        SEARCHER,
        "users",
        &["ZINCRBY", "1", "{}"],
        "metrics users: {}: 2 searches, 1 in",
        &["ZINCRBY", "-1", "{}"],
    ),
    (SEARCHER, "users", &["ZREM", "{}"], "metrics users: {}: not there", &["ZADD", "1", "{}"]),
    (NOTHING, "users", &["ZADD", "1", "x"], "metrics users: x: 1 searches, 0", &["ZREM", "x"]),
    (HOTEL, "hotels", &["ZINCRBY", "-1", "{}"], "metrics hotels: {}:", &["ZINCRBY", "1", "{}"]),
    (
        NOTHING,
        "advertisers",
        &["ZINCRBY", "0.5", "Amoma"],
        "metrics advertisers: Amoma:",
        &["ZINCRBY", "-0.5", "Amoma"],
    ),
    (
        CHEAP,
        "offers:{}",
        &["HINCRBY", "Amoma", "-1"],
        "metrics prices: {}, Amoma:",
        &["HINCRBY", "Amoma", "1"],
    ),
    (
        CHEAP,
        "offers:{}",
        &["HSET", "Nobody", "1"],
        "metrics prices: {}, Nobody: 1, None",
        &["HDEL", "Nobody"],
    ),
    (
        NOTHING,
        "offsets",
        &["HINCRBY", "0", "1000000"],
        "cdm stands at metrics_topic",
        &["HINCRBY", "0", "-1000000"],
    ),
    (
        "select topic from ops.consumer_offsets where stage = 'dds' and topic like 'processed%' limit 1",
        "watermarks",
        &["HSET", "0/{}/99", "5"],
        "applied {}/99/5",
        &["HDEL", "0/{}/99"],
    ),
];
