//! Orders in their wire form.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::reference::{Dish, Restaurant, User};

/// The way of an order that goes well.
const WAY: [&str; 4] = ["OPEN", "COOKING", "DELIVERING", "CLOSED"];

/// Builds a valid message of `stg_topic`.
#[derive(Debug, Clone)]
pub struct OrderBuilder {
    object_id: i64,
    version: i64,
    user: String,
    restaurant: String,
    products: Vec<(Dish, u32)>,
    status: String,
}

/// Starts an order with this business key; it is OPEN and still needs user, restaurant and products.
pub fn order(object_id: i64) -> OrderBuilder {
    OrderBuilder {
        object_id,
        version: 0,
        user: String::new(),
        restaurant: String::new(),
        products: Vec::new(),
        status: "OPEN".to_owned(),
    }
}

impl OrderBuilder {
    /// Who orders.
    pub fn user(mut self, user: &User) -> Self {
        self.user.clone_from(&user.id);
        self
    }

    /// Where.
    pub fn restaurant(mut self, restaurant: &Restaurant) -> Self {
        self.restaurant.clone_from(&restaurant.id);
        self
    }

    /// Adds a product.
    pub fn product(mut self, dish: &Dish, quantity: u32) -> Self {
        self.products.push((dish.clone(), quantity));
        self
    }

    /// Adds the dishes of the ordered restaurant's menu with these numbers, one piece each.
    pub fn dishes(mut self, restaurant: &Restaurant, numbers: impl IntoIterator<Item = usize>) -> Self {
        self = self.restaurant(restaurant);
        for number in numbers {
            self = self.product(&restaurant.menu[number], 1);
        }
        self
    }

    /// Where the order stands; the way to it is filled in.
    pub fn status(mut self, status: &str) -> Self {
        status.clone_into(&mut self.status);
        self
    }

    /// Which version of the order this is: each is sent a minute after the one before.
    pub fn version(mut self, version: i64) -> Self {
        self.version = version;
        self
    }

    /// When the source sent this version.
    pub fn sent_dttm(&self) -> DateTime<Utc> {
        self.date() + TimeDelta::minutes(60 + self.version)
    }

    fn date(&self) -> DateTime<Utc> {
        let day = DateTime::parse_from_rfc3339("2025-02-22T08:56:14.049848Z").expect("a date");
        day.with_timezone(&Utc) + TimeDelta::seconds(self.object_id.rem_euclid(86_400))
    }

    fn statuses(&self) -> Vec<Value> {
        let known = WAY.iter().position(|status| *status == self.status);
        let mut way: Vec<&str> = WAY[..known.map_or(1, |position| position + 1)].to_vec();
        if known.is_none() {
            way.push(&self.status);
        }
        let step = |(minutes, status): (i64, &str)| json!({"status": status, "dttm": (self.date() + TimeDelta::minutes(5 * minutes)).to_rfc3339()});
        (1..).zip(way).map(step).collect()
    }

    /// The message.
    pub fn build(&self) -> Value {
        let item = |(dish, quantity): &(Dish, u32)| {
            json!({
                "id": dish.id,
                "name": dish.name,
                "price": dish.price,
                "category": dish.category,
                "quantity": quantity,
            })
        };
        let items: Vec<Value> = self.products.iter().map(item).collect();
        let cost: i64 = self.products.iter().map(|(dish, quantity)| dish.price * i64::from(*quantity)).sum();
        json!({
            "object_id": self.object_id,
            "object_type": "order",
            "sent_dttm": self.sent_dttm().to_rfc3339(),
            "payload": {
                "restaurant": {"id": self.restaurant},
                "date": self.date().to_rfc3339(),
                "user": {"id": self.user},
                "order_items": items,
                "bonus_payment": 0,
                "cost": cost,
                "payment": cost,
                "bonus_grant": 0,
                "statuses": self.statuses(),
                "final_status": self.status,
                "update_ts": self.sent_dttm().to_rfc3339(),
            },
        })
    }
}

/// One message a line.
pub fn ndjson(messages: &[Value]) -> String {
    messages.iter().map(|message| format!("{message}\n")).collect()
}
