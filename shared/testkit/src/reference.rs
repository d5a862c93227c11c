//! Users and restaurants that orders are enriched from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use redis::AsyncCommands as _;
use serde_json::{Value, json};

/// The golden user.
const GOLDEN_USER: &str = strata_streams::order::golden::USER;

/// The golden restaurant.
const GOLDEN_RESTAURANT: &str = strata_streams::order::golden::RESTAURANT;

/// The golden order, a message of `stg_topic`.
const GOLDEN_ORDER: &str = strata_streams::order::golden::RAW;

/// Categories of invented dishes.
const CATEGORIES: [&str; 5] = ["Закуски", "Супы", "Основные блюда", "Гарниры", "Напитки"];

/// A user as the reference data has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// 24 hexadecimal characters.
    pub id: String,
    /// Full name.
    pub name: String,
    /// Login.
    pub login: String,
}

/// A dish of a menu.
#[derive(Debug, Clone, PartialEq)]
pub struct Dish {
    /// 24 hexadecimal characters.
    pub id: String,
    /// Name.
    pub name: String,
    /// Price of one piece.
    pub price: i64,
    /// Category.
    pub category: String,
}

/// A restaurant and its menu.
#[derive(Debug, Clone, PartialEq)]
pub struct Restaurant {
    /// 24 hexadecimal characters.
    pub id: String,
    /// Name.
    pub name: String,
    /// The dishes.
    pub menu: Vec<Dish>,
}

/// The reference data in force.
#[derive(Debug, Clone, Default)]
pub struct Reference {
    /// Users by id.
    pub users: BTreeMap<String, User>,
    /// Restaurants by id.
    pub restaurants: BTreeMap<String, Restaurant>,
}

/// The golden order in its wire form.
pub fn golden_order() -> Value {
    serde_json::from_str(GOLDEN_ORDER).expect("the golden order is JSON")
}

/// An id of the form that users, restaurants and products have.
pub fn hex_id(kind: u8, number: usize) -> String {
    format!("{kind:02x}{number:022x}")
}

impl Reference {
    /// The golden user and the golden restaurant.
    pub fn golden() -> Self {
        let parse = |text: &str| -> Value { serde_json::from_str(text).expect("a golden message is JSON") };
        let mut reference = Self::default();
        reference.add_user(&parse(GOLDEN_USER));
        reference.add_restaurant(&parse(GOLDEN_RESTAURANT));
        reference
    }

    /// Invents users and restaurants, the same ones every time; no dish is on two menus.
    pub fn invented(users: usize, restaurants: usize, dishes: usize) -> Self {
        let user = |n: usize| User {
            id: hex_id(0xa0, n),
            name: format!("Гость №{n} «О'Нил»"),
            login: format!("guest_{n}"),
        };
        let restaurant = |n: usize| Restaurant {
            id: hex_id(0xb0, n),
            name: format!("Ресторан №{n}"),
            menu: (0..dishes).map(|d| dish(n * 1000 + d)).collect(),
        };
        Self {
            users: (0..users).map(user).map(|user| (user.id.clone(), user)).collect(),
            restaurants: (0..restaurants).map(restaurant).map(|r| (r.id.clone(), r)).collect(),
        }
    }

    /// Everything of both.
    pub fn with(mut self, other: Self) -> Self {
        self.users.extend(other.users);
        self.restaurants.extend(other.restaurants);
        self
    }

    /// A user by number.
    pub fn user(&self, number: usize) -> &User {
        self.users.values().nth(number % self.users.len()).expect("the reference data has users")
    }

    /// A restaurant by number.
    pub fn restaurant(&self, number: usize) -> &Restaurant {
        self.restaurants
            .values()
            .nth(number % self.restaurants.len())
            .expect("the reference data has restaurants")
    }

    /// The dish of a restaurant's menu.
    pub fn dish(&self, restaurant: &str, product: &str) -> Option<&Dish> {
        self.restaurants.get(restaurant)?.menu.iter().find(|dish| dish.id == product)
    }

    /// The users as data-source takes them, a line each.
    pub fn users_ndjson(&self) -> String {
        self.users.values().fold(String::new(), |mut lines, user| {
            let User { id, name, login } = user;
            let line =
                json!({"_id": id, "name": name, "login": login, "update_ts_utc": "2025-02-01 00:00:00"});
            writeln!(lines, "{line}").expect("text grows");
            lines
        })
    }

    /// The restaurants as data-source takes them, a line each.
    pub fn restaurants_ndjson(&self) -> String {
        self.restaurants.values().fold(String::new(), |mut lines, restaurant| {
            let dish =
                |d: &Dish| json!({"_id": d.id, "name": d.name, "price": d.price, "category": d.category});
            let menu: Vec<Value> = restaurant.menu.iter().map(dish).collect();
            let Restaurant { id, name, .. } = restaurant;
            let line = json!({"_id": id, "name": name, "menu": menu, "update_ts_utc": "2025-02-01 00:00:00"});
            writeln!(lines, "{line}").expect("text grows");
            lines
        })
    }

    /// Reads what lies in Redis below `prefix`, generated entries included.
    pub async fn from_redis(redis: &mut redis::aio::MultiplexedConnection, prefix: &str) -> Self {
        let mut reference = Self::default();
        for user in read_index(redis, &format!("{prefix}ref:users"), &format!("{prefix}ref:user:")).await {
            reference.add_user(&user);
        }
        let (index, entry) = (format!("{prefix}ref:restaurants"), format!("{prefix}ref:restaurant:"));
        for restaurant in read_index(redis, &index, &entry).await {
            reference.add_restaurant(&restaurant);
        }
        reference
    }

    fn add_user(&mut self, user: &Value) {
        let user = User { id: text(user, "_id"), name: text(user, "name"), login: text(user, "login") };
        self.users.insert(user.id.clone(), user);
    }

    fn add_restaurant(&mut self, restaurant: &Value) {
        let dish = |dish: &Value| Dish {
            id: text(dish, "_id"),
            name: text(dish, "name"),
            price: dish["price"].as_f64().map(|price| price as i64).expect("a price"),
            category: text(dish, "category"),
        };
        let menu = restaurant["menu"].as_array().expect("a menu").iter().map(dish).collect();
        let restaurant = Restaurant { id: text(restaurant, "_id"), name: text(restaurant, "name"), menu };
        self.restaurants.insert(restaurant.id.clone(), restaurant);
    }
}

fn dish(number: usize) -> Dish {
    Dish {
        id: hex_id(0xc0, number),
        name: format!("Блюдо №{number}"),
        price: 100 + i64::try_from(number % 900).expect("a small number"),
        category: CATEGORIES[number % CATEGORIES.len()].to_owned(),
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is no text in {value}")).to_owned()
}

async fn read_index(redis: &mut redis::aio::MultiplexedConnection, index: &str, entry: &str) -> Vec<Value> {
    let ids: Vec<String> = redis.smembers(index).await.expect("the index of the reference data");
    let mut values = Vec::with_capacity(ids.len());
    for id in ids {
        let json: String = redis.get(format!("{entry}{id}")).await.expect("an entry of the reference data");
        values.push(serde_json::from_str(&json).expect("the reference data is JSON"));
    }
    values
}
