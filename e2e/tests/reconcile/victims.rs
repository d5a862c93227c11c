//! What is spoilt in the raw layer and the vault: one row at a time, and what must be said of it. `{}` stands for the
//! victim.

/// One row of Postgres that is spoilt.
pub struct Spoilt {
    /// Its table.
    pub table: &'static str,
    /// Finds what identifies the row.
    pub victim: &'static str,
    /// Spoils it.
    pub change: &'static str,
    /// Part of the row that must be named.
    pub said: &'static str,
}

pub const fn spoilt(
    table: &'static str,
    victim: &'static str,
    change: &'static str,
    said: &'static str,
) -> Spoilt {
    Spoilt { table, victim, change, said }
}

/// A generated order: it has one version.
const ORDER: &str = "select order_id::text from dds.h_order where order_id not between 9000000000 and 9000001000 order by order_id limit 1";
/// Its key in the vault.
const ORDER_PK: &str = "select h_order_pk::text from dds.h_order where order_id not between 9000000000 and 9000001000 order by order_id limit 1";
/// A search of an id that was given.
const SEARCH: &str = "select 'once'";
/// Its key in the vault.
const SEARCH_PK: &str = "select hk_hotel_search_pk::text from dds.l_hotel_search where event_id = 'once'";
const USER_PK: &str = "select h_user_pk::text from dds.l_order_user order by h_user_pk limit 1";
const PRODUCT_PK: &str = "select h_product_pk::text from dds.l_order_product order by h_product_pk limit 1";
const CATEGORY_PK: &str =
    "select h_category_pk::text from dds.l_order_category order by h_category_pk limit 1";
const RESTAURANT_PK: &str =
    "select h_restaurant_pk::text from dds.l_product_restaurant order by h_restaurant_pk limit 1";
/// A hotel.
pub const HOTEL: &str = "select hotel_id from dds.h_hotel order by hotel_id limit 1";
/// A product that one restaurant sells, in one category, and that was never called otherwise.
const PRODUCT: &str = "select p.product_id from dds.h_product as p \
     where 1 = (select count(*) from dds.l_product_restaurant as r where r.h_product_pk = p.h_product_pk) \
     and 1 = (select count(*) from dds.l_product_category as c where c.h_product_pk = p.h_product_pk) \
     and 1 = (select count(*) from dds.s_product_names as n where n.h_product_pk = p.h_product_pk) \
     order by p.product_id limit 1";
/// No victim in particular.
pub const NOTHING: &str = "select ''";
/// Rows of the raw layer and the vault.
pub const IN_LAYERS: &[Spoilt] = &[
    // stg
    spoilt(
        "stg.order_events",
        // An order in another state than before; the vault knows both.
        "select e.object_id::text from stg.order_events as e join dds.h_order as h on h.order_id = e.object_id \
         join dds.s_order_status as s using (h_order_pk) \
         where s.load_seq = e.load_offset * 4096 + e.load_partition and exists (select from dds.s_order_status as o \
             where o.h_order_pk = s.h_order_pk and o.status <> s.status) order by 1 limit 1",
        "update stg.order_events as e set payload = jsonb_set(payload, '{final_status}', (select to_jsonb(min(s.status)) \
             from dds.s_order_status as s join dds.h_order as h using (h_order_pk) \
             where h.order_id = e.object_id and s.status <> payload ->> 'final_status')) where object_id = {}",
        "order {} is another version than the one in force in s_order_status",
    ),
    spoilt(
        "stg.order_events",
        ORDER,
        "delete from stg.order_events where object_id = {}",
        "is of order {}, which is not staged",
    ),
    spoilt(
        "stg.order_events",
        // An order in another state than before; the vault knows both.
        "select e.object_id::text from stg.order_events as e join dds.h_order as h on h.order_id = e.object_id \
         join dds.s_order_status as s using (h_order_pk) \
         where s.load_seq = e.load_offset * 4096 + e.load_partition and exists (select from dds.s_order_status as o \
             where o.h_order_pk = s.h_order_pk and o.status <> s.status) order by 1 limit 1",
        "update stg.order_events as e set payload = jsonb_set(payload, '{final_status}', (select to_jsonb(min(s.status)) \
             from dds.s_order_status as s join dds.h_order as h using (h_order_pk) \
             where h.order_id = e.object_id and s.status <> payload ->> 'final_status')) where object_id = {}",
        "order {} is another version than the one in force in s_order_status",
    ),
    spoilt(
        "stg.order_events",
        ORDER,
        "delete from stg.order_events where object_id = {}",
        "h_order: order {} is not in stg.order_events",
    ),
    spoilt(
        "stg.order_events",
        ORDER,
        "update stg.order_events set sent_dttm = sent_dttm - interval '1 day' where object_id = {}",
        "is newer than order {}",
    ),
    spoilt(
        "stg.order_events",
        ORDER,
        "update stg.order_events set payload = jsonb_set(payload, '{cost}', '123456.5') where object_id = {}",
        "order {} says [\"123456.5\"",
    ),
    spoilt(
        "stg.order_events",
        ORDER,
        "update stg.order_events set payload = jsonb_set(payload, '{user,id}', '\"x\"') where object_id = {}",
        "order {} names user_id \"x\"",
    ),
    spoilt(
        "stg.order_events",
        ORDER,
        "update stg.order_events set payload = jsonb_set(payload, '{final_status}', '\"EATEN\"') where object_id = {}",
        "order {} holds no order: unknown variant `EATEN`",
    ),
    spoilt(
        "stg.order_events",
        ORDER,
        "update stg.order_events set payload = jsonb_set(payload, '{order_items,0,id}', '\"x\"') where object_id = {}",
        "order {} names product_id \"x\"",
    ),
    spoilt(
        "stg.order_events",
        ORDER,
        "update stg.order_events set object_type = 'cat' where object_id = {}",
        "order {} has the type cat",
    ),
    spoilt(
        "stg.order_events",
        ORDER,
        "update stg.order_events set load_offset = load_offset + 1000000 where object_id = {}",
        "stg.order_events: order {} came with",
    ),
    spoilt(
        "stg.order_events",
        ORDER,
        "insert into stg.order_events (object_id, object_type, sent_dttm, payload) \
         select 77, object_type, sent_dttm, payload from stg.order_events where object_id = {}",
        "order 77 is not in h_order",
    ),
    spoilt(
        "stg.hotel_search_events",
        SEARCH,
        "delete from stg.hotel_search_events where event_id = '{}'",
        "is not staged",
    ),
    spoilt(
        "stg.hotel_search_events",
        SEARCH,
        "update stg.hotel_search_events \
         set payload = jsonb_set(payload, '{hotel_advertisers}', '{\"X\": [{\"eurocents\": 1}]}') where event_id = '{}'",
        "\"{}\" says [\"X\"",
    ),
    spoilt(
        "stg.hotel_search_events",
        SEARCH,
        "update stg.hotel_search_events set hotel_id = 'x' where event_id = '{}'",
        "\"{}\" has another user, hotel or time",
    ),
    spoilt(
        "stg.hotel_search_events",
        SEARCH,
        "update stg.hotel_search_events set search_dt = search_dt + interval '1 second' where event_id = '{}'",
        "\"{}\" has another user, hotel or time",
    ),
    spoilt(
        "stg.hotel_search_events",
        SEARCH,
        "insert into stg.hotel_search_events (event_id, user_id, hotel_id, search_dt, payload, sent_dttm) \
         select 'x', user_id, hotel_id, search_dt, payload, sent_dttm from stg.hotel_search_events where event_id = '{}'",
        "\"x\" is not in l_hotel_search",
    ),
    spoilt(
        "stg.hotel_search_events",
        SEARCH,
        "update stg.hotel_search_events set load_offset = load_offset + 1000000 where event_id = '{}'",
        "stg.hotel_search_events: \"{}\" came with",
    ),
    // dds: hubs
    spoilt(
        "dds.h_user",
        USER_PK,
        "delete from dds.h_user where h_user_pk = '{}'",
        "l_order_user: {} is not in h_user",
    ),
    spoilt(
        "dds.h_user",
        USER_PK,
        "update dds.h_user set user_id = 'x' where h_user_pk = '{}'",
        "user_id \"x\" has the key {}",
    ),
    spoilt(
        "dds.h_user",
        NOTHING,
        "insert into dds.h_user select '00000000-0000-0000-0000-000000000001', 'idle', now(), 'x'",
        "\"idle\" has no row in any link",
    ),
    spoilt(
        "dds.h_product",
        PRODUCT_PK,
        "delete from dds.h_product where h_product_pk = '{}'",
        "l_order_product: {} is not in h_product",
    ),
    spoilt(
        "dds.h_product",
        PRODUCT_PK,
        "update dds.h_product set product_id = 'x' where h_product_pk = '{}'",
        "product_id \"x\" has the key {}",
    ),
    spoilt(
        "dds.h_category",
        CATEGORY_PK,
        "delete from dds.h_category where h_category_pk = '{}'",
        "l_order_category: {} is not in h_category",
    ),
    spoilt(
        "dds.h_category",
        CATEGORY_PK,
        "update dds.h_category set category_name = 'x' where h_category_pk = '{}'",
        "category_name \"x\" has the key {}",
    ),
    spoilt(
        "dds.h_restaurant",
        RESTAURANT_PK,
        "delete from dds.h_restaurant where h_restaurant_pk = '{}'",
        "l_product_restaurant: {} is not in h_restaurant",
    ),
    spoilt(
        "dds.h_restaurant",
        RESTAURANT_PK,
        "update dds.h_restaurant set restaurant_id = 'x' where h_restaurant_pk = '{}'",
        "restaurant_id \"x\" has the key {}",
    ),
    spoilt(
        "dds.h_order",
        ORDER_PK,
        "delete from dds.h_order where h_order_pk = '{}'",
        "l_order_user: {} is not in h_order",
    ),
    spoilt("dds.h_order", ORDER, "delete from dds.h_order where order_id = {}", "order {} is not in h_order"),
    spoilt(
        "dds.h_order",
        ORDER_PK,
        "update dds.h_order set order_id = 77 where h_order_pk = '{}'",
        "order 77 has the key {}",
    ),
    spoilt("dds.h_hotel", HOTEL, "delete from dds.h_hotel where hotel_id = '{}'", "metrics hotels: {}:"),
    spoilt(
        "dds.h_hotel",
        HOTEL,
        "update dds.h_hotel set hotel_id = 'x' where hotel_id = '{}'",
        "hotel_id \"x\" has the key",
    ),
    spoilt(
        "dds.h_advertiser",
        NOTHING,
        "delete from dds.h_advertiser where advertiser_name = 'Amoma'",
        "metrics advertisers: Amoma:",
    ),
    spoilt(
        "dds.h_advertiser",
        NOTHING,
        "insert into dds.h_advertiser select '00000000-0000-0000-0000-000000000001', 'Nobody', now(), 'x'",
        "h_advertiser: \"Nobody\" has no row in s_hotel_search_offers",
    ),
    // dds: links
    spoilt(
        "dds.l_order_user",
        ORDER,
        "delete from dds.l_order_user where h_order_pk = (select h_order_pk from dds.h_order where order_id = {})",
        "order {} has no row in l_order_user",
    ),
    spoilt(
        "dds.l_order_user",
        ORDER_PK,
        "update dds.l_order_user set hk_order_user_pk = '00000000-0000-0000-0000-000000000001' where h_order_pk = '{}'",
        "l_order_user: {} and",
    ),
    spoilt(
        "dds.l_order_product",
        ORDER,
        "delete from dds.l_order_product where hk_order_product_pk = (select min(hk_order_product_pk::text)::uuid \
         from dds.l_order_product join dds.h_order using (h_order_pk) where order_id = {})",
        "stg.order_events: order {} names product_id",
    ),
    spoilt(
        "dds.l_order_product",
        ORDER_PK,
        "update dds.l_order_product set h_product_pk = '00000000-0000-0000-0000-000000000001' \
         where hk_order_product_pk = (select min(hk_order_product_pk::text)::uuid from dds.l_order_product where h_order_pk = '{}')",
        "00000000-0000-0000-0000-000000000001 is not in h_product",
    ),
    spoilt(
        "dds.l_order_category",
        ORDER,
        "delete from dds.l_order_category where hk_order_category_pk = (select min(hk_order_category_pk::text)::uuid \
         from dds.l_order_category join dds.h_order using (h_order_pk) where order_id = {})",
        "order {} ",
    ),
    spoilt(
        "dds.l_product_restaurant",
        PRODUCT,
        "delete from dds.l_product_restaurant where h_product_pk = (select h_product_pk from dds.h_product where product_id = '{}')",
        "\"{}\" has no row in l_product_restaurant",
    ),
    spoilt(
        "dds.l_product_category",
        PRODUCT,
        "delete from dds.l_product_category where h_product_pk = (select h_product_pk from dds.h_product where product_id = '{}')",
        "\"{}\" has no row in l_product_category",
    ),
    spoilt(
        "dds.l_hotel_search",
        SEARCH,
        "delete from dds.l_hotel_search where event_id = '{}'",
        "\"{}\" is not in l_hotel_search",
    ),
    spoilt(
        "dds.l_hotel_search",
        SEARCH,
        "update dds.l_hotel_search set search_dt = search_dt + interval '1 second' where event_id = '{}'",
        "\"{}\" has another search_dt",
    ),
    spoilt(
        "dds.l_hotel_search",
        SEARCH_PK,
        "update dds.l_hotel_search set event_id = 'x' where hk_hotel_search_pk = '{}'",
        "\"x\" has the key {}",
    ),
    spoilt(
        "dds.l_hotel_search",
        SEARCH_PK,
        "update dds.l_hotel_search set load_dt = load_dt + interval '1 second' where hk_hotel_search_pk = '{}'",
        "s_hotel_search_offers: {} is not the only one",
    ),
    // dds: satellites
    spoilt(
        "dds.s_user_names",
        USER_PK,
        "update dds.s_user_names set username = 'x' where h_user_pk = '{}' and load_seq = (select min(load_seq) from dds.s_user_names where h_user_pk = '{}')",
        "s_user_names: {} says",
    ),
    spoilt(
        "dds.s_product_names",
        PRODUCT,
        "delete from dds.s_product_names where h_product_pk = (select h_product_pk from dds.h_product where product_id = '{}')",
        "\"{}\" has no row in s_product_names",
    ),
    spoilt(
        "dds.s_product_names",
        PRODUCT,
        "update dds.s_product_names set name = 'x' where h_product_pk = (select h_product_pk from dds.h_product where product_id = '{}')",
        "says [\"x\"], but its hashdiff",
    ),
    spoilt(
        "dds.s_restaurant_names",
        RESTAURANT_PK,
        "update dds.s_restaurant_names set name = 'x' where h_restaurant_pk = '{}' and load_seq = (select min(load_seq) from dds.s_restaurant_names where h_restaurant_pk = '{}')",
        "s_restaurant_names: {} says [\"x\"]",
    ),
    spoilt(
        "dds.s_order_cost",
        ORDER_PK,
        "update dds.s_order_cost set cost = cost + 0.00001 where h_order_pk = '{}'",
        "s_order_cost: {} says",
    ),
    spoilt(
        "dds.s_order_cost",
        ORDER,
        "delete from dds.s_order_cost where h_order_pk = (select h_order_pk from dds.h_order where order_id = {})",
        "order {} has no row in s_order_cost",
    ),
    spoilt(
        "dds.s_order_status",
        ORDER_PK,
        "update dds.s_order_status set status = 'EATEN' where h_order_pk = '{}'",
        "s_order_status: {} says [\"EATEN\"]",
    ),
    spoilt(
        "dds.s_order_status",
        ORDER,
        "insert into dds.s_order_status \
             (h_order_pk, status, load_dt, load_seq, load_src, hk_order_status_hashdiff, sent_dttm) \
         select h_order_pk, status, s.load_dt, s.load_seq + 4096, s.load_src, hk_order_status_hashdiff, sent_dttm \
         from dds.s_order_status as s join dds.h_order using (h_order_pk) where order_id = {}",
        "s_order_status: order {} repeats at",
    ),
    spoilt(
        "dds.s_order_status",
        ORDER_PK,
        "update dds.s_order_status set load_seq = load_seq + 4096000000 where h_order_pk = '{}'",
        "s_order_status: {} came with",
    ),
    spoilt(
        "dds.s_order_status",
        // An older version's state, of which nothing else tells.
        "select h.order_id::text from dds.h_order as h join stg.order_events as e on e.object_id = h.order_id \
         join dds.s_order_status as s using (h_order_pk) where s.status <> e.payload ->> 'final_status' \
         and s.status <> 'CLOSED' group by h.order_id, s.status having count(*) = 1 order by h.order_id limit 1",
        "delete from dds.s_order_status as s using stg.order_events as e, dds.h_order as h \
         where h.order_id = {} and e.object_id = {} and s.h_order_pk = h.h_order_pk and s.status <> 'CLOSED' \
         and s.status = (select min(status) from dds.s_order_status as o where o.h_order_pk = h.h_order_pk \
             and o.status <> e.payload ->> 'final_status' and o.status <> 'CLOSED' \
             and 1 = (select count(*) from dds.s_order_status as p where p.h_order_pk = o.h_order_pk and p.status = o.status))",
        "is an older version of order {}: says",
    ),
    spoilt(
        "dds.s_hotel_search_offers",
        SEARCH_PK,
        "update dds.s_hotel_search_offers set advertisers = advertisers || array['Nobody'] where hk_hotel_search_pk = '{}'",
        "s_hotel_search_offers: {} says",
    ),
    spoilt(
        "dds.s_hotel_search_offers",
        SEARCH_PK,
        "delete from dds.s_hotel_search_offers where hk_hotel_search_pk = '{}'",
        "l_hotel_search: \"once\" has no row in s_hotel_search_offers",
    ),
];
