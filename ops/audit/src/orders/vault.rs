//! The vault of the orders: every table is streamed once, and what the checks need of it is kept as numbers.
//!
//! dds writes hubs, links and satellites of a record in one transaction, so nothing of this is ever in
//! flight. **Memory**: about 100 bytes an order and 8 a link.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use strata_events::StageId;
use strata_streams::order::ORDER;
use strata_streams::order::vault as order;
use strata_streams::vault::USER;
use strata_vault::model::{self, LOAD_SRC, Link};
use strata_vault::{hashdiff, hub_key};
use uuid::Uuid;

use super::super::keys::{Keys, Lists, Marks, Pairs, pair, short};
use super::super::reader::Reader;
use super::super::report::Check;
use super::super::snapshot::Snapshot;
use super::super::vault::{Hub, Place, Places, RowChecks, Satellite, read_link, select};

/// Orders whose histories are looked at in one statement.
const CHUNK: usize = 20_000;

/// Satellites of orders: table, fingerprint, attributes as text.
const COST: (&str, &str, &[&str]) =
    ("s_order_cost", "hk_order_cost_hashdiff", &["trim_scale(cost)::text", "trim_scale(payment)::text"]);
const STATUS: (&str, &str, &[&str]) = ("s_order_status", "hk_order_status_hashdiff", &["status"]);

/// The vault of the orders, by number.
pub struct OrderVault {
    /// `h_order`; numbers from `order_ids.len()` on are of orders that are not in it.
    pub orders: Keys,
    /// Business keys of the orders.
    pub order_ids: Vec<i64>,
    /// Orders that were written to dds_topic by hand.
    pub by_hand: Marks,
    /// Users of orders and of searches.
    pub users: Hub,
    /// Products.
    pub products: Hub,
    /// Categories.
    pub categories: Hub,
    /// Users of an order.
    pub users_of: Lists<u32>,
    /// Products of an order.
    pub products_of: Lists<u32>,
    /// Categories of an order.
    pub categories_of: Lists<u32>,
    /// Cost and payment that an order had.
    pub costs_of: Versions,
    /// The states that an order had.
    pub statuses_of: Versions,
    /// Names that a product had.
    pub product_names: Lists<Box<str>>,
    /// Users that an order or a satellite names.
    pub ordering: Marks,
}

/// What a satellite of orders holds, by order.
pub struct Versions {
    /// Fingerprints of all versions.
    pub fingerprints: Lists<u64>,
    /// Place and fingerprint of the version in force.
    pub in_force: Vec<(Place, u64)>,
}

/// Reads the vault with all its checks.
pub fn read(snapshot: &Snapshot<'_>, reader: &mut Reader) -> anyhow::Result<(OrderVault, Vec<Check>)> {
    let mut hubs = Check::new("dds orders: keys of hubs are those of their business keys");
    let mut childless = Check::new("dds orders: hubs have their links and satellites");
    let mut rows = RowChecks::new("orders");
    let [stg_topic, dds_topic] =
        [StageId::Stg, StageId::Dds].map(|stage| snapshot.settings.topics.name(ORDER.topic(stage)));
    let places =
        Places::new(snapshot, &[(StageId::Stg.as_str(), stg_topic), (StageId::Dds.as_str(), dds_topic)]);

    let (orders, order_ids, by_hand) = read_orders(reader, &mut hubs, dds_topic)?;
    let users = Hub::read(reader, &mut hubs, &USER)?;
    let products = Hub::read(reader, &mut hubs, &order::PRODUCT)?;
    let categories = Hub::read(reader, &mut hubs, &order::CATEGORY)?;
    let restaurants = Hub::read(reader, &mut hubs, &order::RESTAURANT)?;

    let mut reading = Reading { reader, rows: &mut rows, places: &places, count: order_ids.len() };
    let (users_of, ordering) = reading.of_orders(&order::ORDER_USER, [&orders, &users.keys])?;
    let (products_of, ordered) = reading.of_orders(&order::ORDER_PRODUCT, [&orders, &products.keys])?;
    let (categories_of, in_orders) =
        reading.of_orders(&order::ORDER_CATEGORY, [&orders, &categories.keys])?;
    let costs_of = reading.satellite_of_orders(&orders, COST)?;
    let statuses_of = reading.satellite_of_orders(&orders, STATUS)?;
    let menus = reading.menus(&products, &categories, &restaurants)?;
    let names = reading.names(&users, &products, &restaurants)?;

    products.childless(&mut childless, &ordered, "l_order_product");
    categories.childless(&mut childless, &in_orders, "l_order_category");
    menus.childless(&mut childless, [&products, &categories, &restaurants]);
    names.childless(&mut childless, [&users, &products, &restaurants], &ordering);
    let vault = OrderVault {
        orders,
        order_ids,
        by_hand,
        users,
        products,
        categories,
        users_of,
        products_of,
        categories_of,
        costs_of,
        statuses_of,
        product_names: names.product_names,
        ordering,
    };
    vault.childless(&mut childless);
    let pairs = vault.check_categories(&menus.pairs);
    let remembered = Utc::now() - snapshot.settings.keep_settled;
    let judged = in_order_since(reader, dds_topic)?.map_or(remembered, |since| since.max(remembered));
    let histories = vault.check_histories(reader, judged)?;
    let RowChecks { links, fingerprints, orphans, positions } = rows;
    Ok((vault, vec![hubs, links, fingerprints, orphans, childless, pairs, histories, positions]))
}

fn read_orders(
    reader: &mut Reader,
    check: &mut Check,
    dds_topic: &str,
) -> anyhow::Result<(Keys, Vec<i64>, Marks)> {
    let (mut keys, mut ids, mut by_hand) = (Keys::default(), Vec::new(), Marks::default());
    let model::Hub { table, key, business_key, .. } = order::ORDER;
    reader.copy_out(&select(table, &[key, business_key.name, LOAD_SRC.name]), |row| {
        let (key, id) = (row.uuid(0)?, row.bigint(1)?);
        check.compared += 1;
        let expected = hub_key(&id.to_string());
        if key != expected {
            check.differs(|| format!("h_order: order {id} has the key {key}, not {expected}"));
        }
        let number = keys.insert(key);
        ids.push(id);
        if row.text(2)? == dds_topic {
            by_hand.set(number);
        }
        Ok(())
    })?;
    Ok((keys, ids, by_hand))
}

/// What the tables around the products say.
struct Menus {
    /// Product and category, as [`pair`].
    pairs: HashSet<u64>,
    /// Products of a restaurant,
    sold: Marks,
    /// products of a category,
    sorted: Marks,
    /// categories of a product,
    filled: Marks,
    /// restaurants of a product.
    selling: Marks,
}

impl Menus {
    fn childless(&self, check: &mut Check, [products, categories, restaurants]: [&Hub; 3]) {
        products.childless(check, &self.sold, "l_product_restaurant");
        products.childless(check, &self.sorted, "l_product_category");
        categories.childless(check, &self.filled, "l_product_category");
        restaurants.childless(check, &self.selling, "l_product_restaurant");
    }
}

/// Whom the satellites of names know.
struct Names {
    users: Marks,
    products: Marks,
    restaurants: Marks,
    product_names: Lists<Box<str>>,
}

impl Names {
    /// Users of searches have neither names nor orders, those of orders both.
    fn childless(&self, check: &mut Check, [users, products, restaurants]: [&Hub; 3], ordering: &Marks) {
        products.childless(check, &self.products, "s_product_names");
        restaurants.childless(check, &self.restaurants, "s_restaurant_names");
        for (number, name) in (0..).zip(&users.names) {
            check.compared += 1;
            let (orders, named) = (ordering.has(number), self.users.has(number));
            if orders != named {
                let missing = if orders { "s_user_names" } else { "l_order_user" };
                check.differs(|| format!("h_user: {name:?} has no row in {missing}"));
            }
        }
    }
}

/// What every table is read with.
struct Reading<'a> {
    reader: &'a mut Reader,
    rows: &'a mut RowChecks,
    places: &'a Places,
    /// Orders of the hub.
    count: usize,
}

impl Reading<'_> {
    /// Reads a link from orders to a hub: by order, and which rows of the hub it names.
    fn of_orders(&mut self, link: &Link, hubs: [&Keys; 2]) -> anyhow::Result<(Lists<u32>, Marks)> {
        let (mut pairs, mut seen) = (Pairs::default(), Marks::default());
        read_link(link, hubs, self.reader, self.rows, |order, other| {
            pairs.push(order, other);
            seen.set(other);
        })?;
        Ok((pairs.into_lists(self.count), seen))
    }

    fn satellite_of_orders(
        &mut self,
        orders: &Keys,
        (table, hashdiff, attributes): (&'static str, &'static str, &'static [&'static str]),
    ) -> anyhow::Result<Versions> {
        let mut pairs = Pairs::default();
        let mut in_force = vec![((i64::MIN, i64::MIN, i64::MIN), 0); self.count];
        let parent = (orders, "h_order");
        let satellite =
            Satellite { table, parent, key: "h_order_pk", hashdiff, sent: "sent_dttm", attributes };
        satellite.read(self.reader, self.rows, self.places, |version| {
            let fingerprint = short(version.fingerprint);
            pairs.push(version.parent, fingerprint);
            if let Some(newest) = in_force.get_mut(version.parent as usize)
                && newest.0 < version.place
            {
                *newest = (version.place, fingerprint);
            }
        })?;
        Ok(Versions { fingerprints: pairs.into_lists(self.count), in_force })
    }

    fn menus(&mut self, products: &Hub, categories: &Hub, restaurants: &Hub) -> anyhow::Result<Menus> {
        let mut menus = Menus {
            pairs: HashSet::new(),
            sold: Marks::default(),
            sorted: Marks::default(),
            filled: Marks::default(),
            selling: Marks::default(),
        };
        let hubs = [&products.keys, &restaurants.keys];
        read_link(&order::PRODUCT_RESTAURANT, hubs, self.reader, self.rows, |product, restaurant| {
            menus.sold.set(product);
            menus.selling.set(restaurant);
        })?;
        let hubs = [&products.keys, &categories.keys];
        read_link(&order::PRODUCT_CATEGORY, hubs, self.reader, self.rows, |product, category| {
            menus.pairs.insert(pair(product, category));
            menus.sorted.set(product);
            menus.filled.set(category);
        })?;
        Ok(menus)
    }

    fn names(&mut self, users: &Hub, products: &Hub, restaurants: &Hub) -> anyhow::Result<Names> {
        let mut names = [Marks::default(), Marks::default(), Marks::default()];
        let mut product_names = Pairs::default();
        let satellites: [(&Hub, [&'static str; 4], &'static [&'static str]); 3] = [
            (
                users,
                ["s_user_names", "h_user", "h_user_pk", "hk_user_names_hashdiff"],
                &["username", "userlogin"],
            ),
            (
                products,
                ["s_product_names", "h_product", "h_product_pk", "hk_product_names_hashdiff"],
                &["name"],
            ),
            (
                restaurants,
                ["s_restaurant_names", "h_restaurant", "h_restaurant_pk", "hk_restaurant_names_hashdiff"],
                &["name"],
            ),
        ];
        for (seen, (hub, [table, hub_table, key, hashdiff], attributes)) in names.iter_mut().zip(satellites) {
            let (parent, sent) = ((&hub.keys, hub_table), "null::timestamptz");
            let satellite = Satellite { table, parent, key, hashdiff, sent, attributes };
            satellite.read(self.reader, self.rows, self.places, |version| {
                seen.set(version.parent);
                if table == "s_product_names" {
                    let name = version.attributes.first().copied().unwrap_or_default();
                    product_names.push(version.parent, Box::from(name));
                }
            })?;
        }
        let [users, products_named, restaurants] = names;
        let product_names = product_names.into_lists(products.names.len());
        Ok(Names { users, products: products_named, restaurants, product_names })
    }
}

impl OrderVault {
    /// The number of every order of the hub.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        0..u32::try_from(self.order_ids.len()).unwrap_or(u32::MAX)
    }

    /// The business key of an order of the hub.
    pub fn order_id(&self, number: u32) -> i64 {
        self.order_ids.get(number as usize).copied().unwrap_or_default()
    }

    /// True where the order was CLOSED once.
    pub fn is_closed(&self, number: u32, closed: u64) -> bool {
        self.statuses_of.fingerprints.of(number).contains(&closed)
    }

    fn childless(&self, check: &mut Check) {
        for number in self.numbers() {
            check.compared += 1;
            let children = [
                ("l_order_user", self.users_of.of(number).is_empty()),
                ("l_order_product", self.products_of.of(number).is_empty()),
                ("l_order_category", self.categories_of.of(number).is_empty()),
                ("s_order_cost", self.costs_of.fingerprints.of(number).is_empty()),
                ("s_order_status", self.statuses_of.fingerprints.of(number).is_empty()),
            ];
            for (child, _) in children.iter().filter(|(_, missing)| *missing) {
                check.differs(|| format!("h_order: order {} has no row in {child}", self.order_id(number)));
            }
        }
    }

    /// Each product of an order has a category that both were linked to, and each category of it a product.
    fn check_categories(&self, menus: &HashSet<u64>) -> Check {
        let mut check = Check::new("dds orders: products and categories of an order belong together");
        for order in self.numbers() {
            let (products, categories) = (self.products_of.of(order), self.categories_of.of(order));
            check.compared += (products.len() + categories.len()) as i64;
            for product in products {
                if !categories.iter().any(|category| menus.contains(&pair(*product, *category))) {
                    let product = self.products.name(*product);
                    check.differs(|| {
                        let order = self.order_id(order);
                        format!("l_order_product: order {order} holds {product}, but no category of it")
                    });
                }
            }
            for category in categories {
                if !products.iter().any(|product| menus.contains(&pair(*product, *category))) {
                    let category = self.categories.name(*category);
                    check.differs(|| {
                        let order = self.order_id(order);
                        format!("l_order_category: order {order} holds {category}, but no product of it")
                    });
                }
            }
        }
        check
    }

    /// No value follows itself, where the two rows reached dds in the order of their offsets and of their sending, and
    /// nothing else was sent between them.
    ///
    /// A late record takes its place in the past, and the equal value after it stays, for dds deletes nothing.
    /// Two rows from one source partition, the second with the higher offset, came in order, unless the first
    /// is a dead letter that was replayed; these are remembered for a while, and older rows not looked at, as are those
    /// that [may have been overtaken](in_order_since). Names are
    /// not looked at: their records come by way of several partitions, while those of an order have one key.
    fn check_histories(&self, reader: &mut Reader, judged: DateTime<Utc>) -> anyhow::Result<Check> {
        let mut check = Check::new("dds orders: satellites hold changes only");
        for ((table, hashdiff, _), versions) in [(COST, &self.costs_of), (STATUS, &self.statuses_of)] {
            let mut twice: Vec<Uuid> = Vec::new();
            for order in self.numbers() {
                let values = versions.fingerprints.of(order);
                check.compared += values.len() as i64;
                if values.iter().enumerate().any(|(at, value)| values[..at].contains(value)) {
                    twice.push(hub_key(&self.order_id(order).to_string()));
                }
            }
            let statement = repeats(table, hashdiff);
            for chunk in twice.chunks(CHUNK) {
                let query = sqlx::query_as(&statement).bind(chunk).bind(judged);
                let rows: Vec<(String,)> = reader.rows(query)?;
                rows.into_iter().for_each(|(row,)| check.differs(|| row));
            }
        }
        Ok(check)
    }
}

/// From when on all versions of an order came by one partition of `topic`, where partitions were added to it.
///
/// What lay in the old partition then may be read after what was sent to the new one. A fleet that starts meets all
/// partitions within seconds; those that stg uses only a moment after dds has met them are the reason for the minute.
fn in_order_since(reader: &mut Reader, topic: &str) -> anyhow::Result<Option<DateTime<Utc>>> {
    let query = sqlx::query_as(
        "with dds as (select since, min(since) over () as first from ops.consumer_offsets where stage = $1 and topic = $2) \
         select max(since) filter (where since > first + interval '20 seconds') + interval '1 minute' from dds",
    );
    let rows: Vec<(Option<DateTime<Utc>>,)> = reader.rows(query.bind(StageId::Dds.as_str()).bind(topic))?;
    Ok(rows.into_iter().find_map(|(since,)| since))
}

/// Finds repeated values of some orders. `$1` uuid[] · `$2` from when on rows are judged.
fn repeats(table: &str, hashdiff: &str) -> String {
    format!(
        "with v as (select h_order_pk, load_dt, load_seq, load_src, {hashdiff}, sent, \
             lag(load_dt) over w as load_dt_before, lag(load_seq) over w as load_seq_before, \
             lag(load_src) over w as load_src_before, lag({hashdiff}) over w as hashdiff_before, \
             lag(sent) over w as sent_before \
             from (select *, coalesce(sent_dttm, '-infinity') as sent from dds.{table}) as s \
             where h_order_pk = any($1) window w as (partition by h_order_pk order by load_dt, load_seq)) \
         select '{table}: order ' || coalesce(h.order_id::text, v.h_order_pk::text) || ' repeats at ' || v.load_dt \
         || ' the value of ' || v.load_dt_before \
         from v left join dds.h_order as h on h.h_order_pk = v.h_order_pk \
         where v.{hashdiff} = v.hashdiff_before and v.load_src = v.load_src_before \
         and v.load_seq % 4096 = v.load_seq_before % 4096 and v.load_seq > v.load_seq_before \
         and v.sent >= v.sent_before and v.load_dt_before >= $2 \
         and not exists (select from v as other where other.h_order_pk = v.h_order_pk \
             and other.{hashdiff} <> v.{hashdiff} and (other.load_dt, other.load_seq) < (v.load_dt, v.load_seq) \
             and (other.sent, other.load_dt, other.load_seq) > (v.sent_before, v.load_dt_before, v.load_seq_before) \
             and (other.sent, other.load_dt, other.load_seq) < (v.sent, v.load_dt, v.load_seq)) \
         and not exists (select from ops.dead_letters as d where d.replay_seq is not null \
             and coalesce(d.source, d.origin, d.topic || '/' || d.partition || '/' || d.\"offset\") \
             = v.load_src_before || '/' || v.load_seq_before % 4096 || '/' || v.load_seq_before / 4096)"
    )
}

/// The short fingerprint of a state.
pub fn status_fingerprint(status: &str) -> u64 {
    short(hashdiff(&[status]))
}
