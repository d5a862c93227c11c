//! A batch of orders as rows of the vault: keys computed once, one row a key, sorted. Pure.

use chrono::{DateTime, Utc};
use strata_events::{FactMessage, Money};
use strata_vault::{SatelliteRecord, hub_key};
use uuid::Uuid;

use crate::rows::{HubRows, LinkRows, Load, put_hub, put_link, record};

/// One product of an order, by keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductKeys {
    /// `h_product_pk`.
    pub product_pk: Uuid,
    /// `h_category_pk`.
    pub category_pk: Uuid,
    /// Name of the product.
    pub name: String,
    /// Name of the category.
    pub category: String,
}

/// One enriched order with its vault keys.
#[derive(Debug)]
pub struct OrderFact<'a> {
    /// The message.
    pub message: &'a FactMessage,
    /// When and whence it came.
    pub load: Load,
    /// `h_order_pk`.
    pub order_pk: Uuid,
    /// `h_user_pk`.
    pub user_pk: Uuid,
    /// `h_restaurant_pk`.
    pub restaurant_pk: Uuid,
    /// The products in the order of the message.
    pub products: Vec<ProductKeys>,
}

impl<'a> OrderFact<'a> {
    /// Computes the keys of a message.
    pub fn new(message: &'a FactMessage, load: Load) -> Self {
        let payload = &message.payload;
        let products = payload.products.iter().map(|product| ProductKeys {
            product_pk: hub_key(&product.id),
            category_pk: hub_key(&product.category),
            name: product.name.clone(),
            category: product.category.clone(),
        });
        Self {
            message,
            load,
            order_pk: hub_key(&payload.id.to_string()),
            user_pk: hub_key(&payload.user.id),
            restaurant_pk: hub_key(&payload.restaurant.id),
            products: products.collect(),
        }
    }
}

/// Attributes of `s_user_names`: name, login.
pub type UserNames = (String, String);

/// Attributes of `s_order_cost`: cost, payment.
pub type OrderCost = (Money, Money);

/// Everything a batch of orders brings to the vault.
#[derive(Debug, Default)]
pub struct VaultRows {
    /// `h_order`: order id and date.
    pub orders: HubRows<(i64, DateTime<Utc>)>,
    /// `h_user`.
    pub users: HubRows<String>,
    /// `h_product`.
    pub products: HubRows<String>,
    /// `h_category`.
    pub categories: HubRows<String>,
    /// `h_restaurant`.
    pub restaurants: HubRows<String>,
    /// `l_order_user`.
    pub order_user: LinkRows,
    /// `l_order_product`.
    pub order_product: LinkRows,
    /// `l_order_category`.
    pub order_category: LinkRows,
    /// `l_product_restaurant`.
    pub product_restaurant: LinkRows,
    /// `l_product_category`.
    pub product_category: LinkRows,
    /// Candidates for `s_user_names`.
    pub user_names: Vec<SatelliteRecord<(UserNames, Load)>>,
    /// Candidates for `s_product_names`.
    pub product_names: Vec<SatelliteRecord<(String, Load)>>,
    /// Candidates for `s_restaurant_names`.
    pub restaurant_names: Vec<SatelliteRecord<(String, Load)>>,
    /// Candidates for `s_order_cost`.
    pub order_cost: Vec<SatelliteRecord<(OrderCost, Load)>>,
    /// Candidates for `s_order_status`.
    pub order_status: Vec<SatelliteRecord<(&'static str, Load)>>,
}

impl VaultRows {
    /// Spreads a batch over the tables.
    pub fn build(facts: &[OrderFact<'_>]) -> Self {
        let mut rows = Self::default();
        for fact in facts {
            rows.push_order(fact);
            for index in 0..fact.products.len() {
                rows.push_product(fact, index);
            }
        }
        rows
    }

    fn push_order(&mut self, fact: &OrderFact<'_>) {
        let (payload, load) = (&fact.message.payload, &fact.load);
        put_hub(&mut self.orders, fact.order_pk, || (payload.id, payload.date), load);
        put_hub(&mut self.users, fact.user_pk, || payload.user.id.clone(), load);
        put_hub(&mut self.restaurants, fact.restaurant_pk, || payload.restaurant.id.clone(), load);
        put_link(&mut self.order_user, [fact.order_pk, fact.user_pk], load);
        let user = &payload.user;
        let names = (user.name.clone(), user.login.clone());
        self.user_names.push(record(fact.user_pk, load, &[&user.name, &user.login], names));
        let name = payload.restaurant.name.clone();
        self.restaurant_names.push(record(fact.restaurant_pk, load, &[&payload.restaurant.name], name));
        let (cost, payment) = (payload.cost.to_string(), payload.payment.to_string());
        self.order_cost.push(record(
            fact.order_pk,
            load,
            &[&cost, &payment],
            (payload.cost, payload.payment),
        ));
        let status = payload.status.as_str();
        self.order_status.push(record(fact.order_pk, load, &[status], status));
    }

    fn push_product(&mut self, fact: &OrderFact<'_>, index: usize) {
        let (keys, load) = (&fact.products[index], &fact.load);
        put_hub(
            &mut self.products,
            keys.product_pk,
            || fact.message.payload.products[index].id.clone(),
            load,
        );
        put_hub(&mut self.categories, keys.category_pk, || keys.category.clone(), load);
        put_link(&mut self.order_product, [fact.order_pk, keys.product_pk], load);
        put_link(&mut self.order_category, [fact.order_pk, keys.category_pk], load);
        put_link(&mut self.product_restaurant, [keys.product_pk, fact.restaurant_pk], load);
        put_link(&mut self.product_category, [keys.product_pk, keys.category_pk], load);
        self.product_names.push(record(keys.product_pk, load, &[&keys.name], keys.name.clone()));
    }
}
