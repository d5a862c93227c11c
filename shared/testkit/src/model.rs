//! The reference fold: what every layer must hold after these orders, computed in memory.
//!
//! The fold knows nothing of batches, offsets or outputs: it takes the orders in any order, each as
//! often as it lies in the topic, and derives the rows from sets. Its arithmetic is its own.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;
use strata_events::Contract as _;
use strata_streams::order::{Order, OrderStatus};

use crate::kafka::TopicRecord;
use crate::keys::{hub, link};
use crate::reference::Reference;

/// When a version of a satellite that does not say was sent.
const NOT_SAID: &str = "null";

/// One row as text, column by column.
pub type Row = Vec<String>;

/// Where a record stands in time: its Kafka timestamp, then its coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// Kafka timestamp, Unix milliseconds.
    pub timestamp_ms: i64,
    /// Offset.
    pub offset: i64,
    /// Partition.
    pub partition: i32,
}

impl From<&TopicRecord> for Arrival {
    fn from(record: &TopicRecord) -> Self {
        Self { timestamp_ms: record.timestamp_ms, offset: record.offset, partition: record.partition }
    }
}

/// A version of a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    /// When it was sent, as the satellite has it; `null` where the satellite does not say.
    sent: String,
    row: Row,
}

/// The versions of one parent in the order of time.
#[derive(Debug, Clone, Default)]
pub struct History(BTreeMap<Arrival, Version>);

impl History {
    /// True when the versions reached the topic in the order of their timestamps, and as they were sent.
    ///
    /// Then the satellite is determined to the row; otherwise it depends on who came first.
    pub fn in_order(&self) -> bool {
        let versions: Vec<(&Arrival, &Version)> = self.0.iter().collect();
        versions.windows(2).all(|pair| {
            let [(earlier, before), (later, after)] = [pair[0], pair[1]];
            earlier.partition == later.partition && earlier.offset < later.offset && before.sent <= after.sent
        })
    }

    /// The versions that differ from the one before, with their time in Unix milliseconds.
    pub fn changes(&self) -> Vec<(i64, &Row)> {
        let mut changes: Vec<(i64, &Row)> = Vec::new();
        for (arrival, Version { row, .. }) in &self.0 {
            if changes.last().is_none_or(|(_, last)| *last != row) {
                changes.push((arrival.timestamp_ms, row));
            }
        }
        changes
    }

    /// True when some version has this time, was sent at that one, and has these values.
    pub fn holds(&self, timestamp_ms: i64, sent: &str, row: &[String]) -> bool {
        let mut versions = self.0.iter();
        versions.any(|(at, version)| {
            at.timestamp_ms == timestamp_ms && version.sent == sent && version.row == row
        })
    }

    /// The version in force, that which was sent last, unless its values stood in another one too: a repeated
    /// value is not stored, so that a late record between the two may hold on.
    pub fn certain_newest(&self) -> Option<&Row> {
        let (_, newest) = self.0.iter().max_by_key(|(arrival, version)| (&version.sent, *arrival))?;
        let times = self.0.values().filter(|version| version.row == newest.row).count();
        (times == 1).then_some(&newest.row)
    }
}

/// A raw order: the newest version, or several that were sent at the same time.
#[derive(Debug, Clone)]
pub struct RawOrder {
    /// When the source sent it.
    pub sent_dttm: DateTime<Utc>,
    /// Its payload; any of these where versions share the time.
    pub payloads: Vec<Value>,
}

/// What the versions of one order add up to.
#[derive(Debug, Clone, Default)]
struct OrderFacts {
    dates: BTreeSet<String>,
    users: BTreeSet<String>,
    products: BTreeSet<String>,
    categories: BTreeSet<String>,
    closed: bool,
}

/// Every layer after the orders it was given.
#[derive(Debug, Clone, Default)]
pub struct Model {
    raw: BTreeMap<i64, RawOrder>,
    orders: BTreeMap<i64, OrderFacts>,
    users: BTreeSet<String>,
    products: BTreeSet<String>,
    categories: BTreeSet<String>,
    restaurants: BTreeSet<String>,
    product_restaurants: BTreeSet<(String, String)>,
    product_categories: BTreeSet<(String, String)>,
    timestamps: BTreeSet<i64>,
    histories: BTreeMap<&'static str, BTreeMap<String, History>>,
    unordered: bool,
}

impl Model {
    /// Takes a record of the stg topic.
    ///
    /// **Panics** when the record is no valid order or names what the reference data does not have:
    /// what becomes a dead letter is no business of the model.
    pub fn accept(&mut self, record: &TopicRecord, reference: &Reference) {
        let bytes = record.payload.as_deref().unwrap_or_default();
        let order =
            Order::decode(bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)));
        self.accept_order(&order, record.into(), reference);
    }

    /// Takes an order that reached the stg topic at `arrival`.
    pub fn accept_order(&mut self, order: &Order<'_>, arrival: Arrival, reference: &Reference) {
        self.timestamps.insert(arrival.timestamp_ms);
        self.accept_raw(order);
        let payload = &order.payload;
        let (user_id, restaurant_id): (&str, &str) = (&payload.user.id, &payload.restaurant.id);
        let user = reference.users.get(user_id).unwrap_or_else(|| panic!("no user {user_id}"));
        let restaurant = reference
            .restaurants
            .get(restaurant_id)
            .unwrap_or_else(|| panic!("no restaurant {restaurant_id}"));
        self.users.insert(user_id.to_owned());
        self.restaurants.insert(restaurant_id.to_owned());
        let facts = self.orders.entry(order.object_id).or_default();
        facts.dates.insert(micros(payload.date));
        facts.users.insert(user_id.to_owned());
        facts.closed |= payload.final_status == OrderStatus::Closed;
        for item in &payload.order_items {
            let dish = reference.dish(restaurant_id, &item.id);
            let dish = dish.unwrap_or_else(|| panic!("{} is not on the menu of {restaurant_id}", item.id));
            facts.products.insert(dish.id.clone());
            facts.categories.insert(dish.category.clone());
            self.products.insert(dish.id.clone());
            self.categories.insert(dish.category.clone());
            self.product_restaurants.insert((dish.id.clone(), restaurant_id.to_owned()));
            self.product_categories.insert((dish.id.clone(), dish.category.clone()));
            let names = self.histories.entry("s_product_names").or_default();
            let version = Version { sent: NOT_SAID.to_owned(), row: vec![dish.name.clone()] };
            names.entry(dish.id.clone()).or_default().0.insert(arrival, version);
        }
        let order_id = order.object_id.to_string();
        let sent = micros(order.sent_dttm);
        let versions = [
            ("s_user_names", user_id, NOT_SAID, vec![user.name.clone(), user.login.clone()]),
            ("s_restaurant_names", restaurant_id, NOT_SAID, vec![restaurant.name.clone()]),
            ("s_order_cost", &order_id, &sent, vec![payload.cost.to_string(), payload.payment.to_string()]),
            ("s_order_status", &order_id, &sent, vec![payload.final_status.as_str().to_owned()]),
        ];
        for (satellite, parent, sent, row) in versions {
            let histories = self.histories.entry(satellite).or_default();
            let version = Version { sent: sent.to_owned(), row };
            histories.entry(parent.to_owned()).or_default().0.insert(arrival, version);
        }
    }

    fn accept_raw(&mut self, order: &Order<'_>) {
        let payload: Value = serde_json::from_str(order.raw_payload.get()).expect("the payload is JSON");
        match self.raw.get_mut(&order.object_id) {
            Some(known) if known.sent_dttm > order.sent_dttm => {}
            Some(known) if known.sent_dttm == order.sent_dttm => known.payloads.push(payload),
            _ => {
                let newest = RawOrder { sent_dttm: order.sent_dttm, payloads: vec![payload] };
                self.raw.insert(order.object_id, newest);
            }
        }
    }

    /// Says that records were reordered behind the stg topic, so that no history is determined to the row.
    pub fn assume_no_order(&mut self) {
        self.unordered = true;
    }

    /// True when a history is determined to the row.
    pub fn determines(&self, history: &History) -> bool {
        !self.unordered && history.in_order()
    }

    /// Number of distinct orders.
    pub fn order_count(&self) -> usize {
        self.raw.len()
    }

    /// Raw orders by business key.
    pub fn raw(&self) -> &BTreeMap<i64, RawOrder> {
        &self.raw
    }

    /// Kafka timestamps of the records: the only times that may stand in the vault.
    pub fn timestamps(&self) -> &BTreeSet<i64> {
        &self.timestamps
    }

    /// Histories of a satellite by the business key of the parent.
    pub fn histories(&self, satellite: &str) -> impl Iterator<Item = (&String, &History)> {
        self.histories.get(satellite).into_iter().flatten()
    }

    /// Dates that the versions of each order gave, by the key of the order.
    pub fn order_dates(&self) -> BTreeMap<String, &BTreeSet<String>> {
        self.orders.iter().map(|(id, facts)| (hub(&id.to_string()).to_string(), &facts.dates)).collect()
    }

    /// Keys and business keys of every hub: table → rows.
    pub fn hubs(&self) -> BTreeMap<&'static str, Vec<Row>> {
        let rows = |keys: &BTreeSet<String>| -> Vec<Row> {
            keys.iter().map(|key| vec![hub(key).to_string(), key.clone()]).collect()
        };
        let orders = self.orders.keys().map(i64::to_string).collect();
        BTreeMap::from([
            ("h_user", rows(&self.users)),
            ("h_product", rows(&self.products)),
            ("h_category", rows(&self.categories)),
            ("h_restaurant", rows(&self.restaurants)),
            ("h_order", rows(&orders)),
        ])
    }

    /// Keys of every link: table → rows.
    pub fn links(&self) -> BTreeMap<&'static str, Vec<Row>> {
        let of_orders = |members: fn(&OrderFacts) -> &BTreeSet<String>| -> Vec<Row> {
            let pairs = self
                .orders
                .iter()
                .flat_map(|(id, facts)| members(facts).iter().map(move |member| (id.to_string(), member)));
            pairs.map(|(order, member)| link_row(&order, member)).collect()
        };
        let of_pairs = |pairs: &BTreeSet<(String, String)>| -> Vec<Row> {
            pairs.iter().map(|(first, second)| link_row(first, second)).collect()
        };
        BTreeMap::from([
            ("l_order_product", of_orders(|facts| &facts.products)),
            ("l_order_user", of_orders(|facts| &facts.users)),
            ("l_order_category", of_orders(|facts| &facts.categories)),
            ("l_product_restaurant", of_pairs(&self.product_restaurants)),
            ("l_product_category", of_pairs(&self.product_categories)),
        ])
    }

    /// The product counters: user key, product key, number of orders.
    pub fn product_counters(&self) -> Vec<Row> {
        self.counters(|facts| &facts.products)
    }

    /// The category counters: user key, category key, number of orders.
    pub fn category_counters(&self) -> Vec<Row> {
        self.counters(|facts| &facts.categories)
    }

    /// An order that was ever CLOSED counts once for each of its users with each of its members.
    fn counters(&self, members: fn(&OrderFacts) -> &BTreeSet<String>) -> Vec<Row> {
        let mut counts: BTreeMap<(&String, &String), u64> = BTreeMap::new();
        for facts in self.orders.values().filter(|facts| facts.closed) {
            for user in &facts.users {
                for member in members(facts) {
                    *counts.entry((user, member)).or_default() += 1;
                }
            }
        }
        let row = |((user, member), count): ((&String, &String), u64)| {
            vec![hub(user).to_string(), hub(member).to_string(), count.to_string()]
        };
        counts.into_iter().map(row).collect()
    }

    /// Names that a product was known by, by the key of the product.
    pub fn product_names(&self) -> BTreeMap<String, BTreeSet<&String>> {
        self.histories("s_product_names")
            .map(|(product, history)| {
                (hub(product).to_string(), history.0.values().map(|version| &version.row[0]).collect())
            })
            .collect()
    }

    /// Names of categories by their key.
    pub fn category_names(&self) -> BTreeMap<String, BTreeSet<&String>> {
        self.categories.iter().map(|name| (hub(name).to_string(), BTreeSet::from([name]))).collect()
    }
}

fn link_row(first: &str, second: &str) -> Row {
    let (first, second) = (hub(first), hub(second));
    vec![link(first, second).to_string(), first.to_string(), second.to_string()]
}

/// A time as the warehouse keeps it: microseconds, UTC.
pub(crate) fn micros(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}
