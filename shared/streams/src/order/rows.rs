//! A batch of orders as rows of the vault: keys computed once, one row a key, sorted. Pure.

use crate::order::FactMessage;
use chrono::{DateTime, Utc};
use strata_events::Money;
use strata_vault::{SatelliteRecord, hashdiff, hub_key};
use uuid::Uuid;

use crate::rows::{
    Fingerprints, HubRows, Keys, LinkPairs, LinkRow, Load, link_rows, put_hub, put_link, record,
};

/// One product of an order, by keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductKeys<'a> {
    /// `h_product_pk`.
    pub product_pk: Uuid,
    /// `h_category_pk`.
    pub category_pk: Uuid,
    /// Business key of the product.
    pub id: &'a str,
    /// Name of the product.
    pub name: &'a str,
    /// Name of the category.
    pub category: &'a str,
}

/// One enriched order with its vault keys.
#[derive(Debug)]
pub struct OrderFact<'a> {
    /// The message.
    pub message: &'a FactMessage<'a>,
    /// When it came, and from where.
    pub load: Load,
    /// `h_order_pk`.
    pub order_pk: Uuid,
    /// `h_user_pk`.
    pub user_pk: Uuid,
    /// `h_restaurant_pk`.
    pub restaurant_pk: Uuid,
    /// The products in the order of the message.
    pub products: Vec<ProductKeys<'a>>,
}

impl<'a> OrderFact<'a> {
    /// Computes the keys of a message; `keys` remembers those of the batch.
    pub fn new(message: &'a FactMessage<'a>, load: Load, keys: &mut Keys<'a>) -> Self {
        let payload = &message.payload;
        let products = payload.products.iter().map(|product| ProductKeys {
            product_pk: keys.hub(&product.id),
            category_pk: keys.hub(&product.category),
            id: &product.id,
            name: &product.name,
            category: &product.category,
        });
        Self {
            message,
            load,
            products: products.collect(),
            order_pk: hub_key(&payload.id.to_string()),
            user_pk: keys.hub(&payload.user.id),
            restaurant_pk: keys.hub(&payload.restaurant.id),
        }
    }
}

/// Attributes of `s_user_names`: name, login.
pub type UserNames<'a> = [&'a str; 2];

/// Attributes of `s_order_cost`: cost, payment.
pub type OrderCost = (Money, Money);

/// Everything a batch of orders brings to the vault.
#[derive(Debug, Default)]
pub struct VaultRows<'a> {
    /// `h_order`: order id and date.
    pub orders: HubRows<(i64, DateTime<Utc>)>,
    /// `h_user`.
    pub users: HubRows<&'a str>,
    /// `h_product`.
    pub products: HubRows<&'a str>,
    /// `h_category`.
    pub categories: HubRows<&'a str>,
    /// `h_restaurant`.
    pub restaurants: HubRows<&'a str>,
    /// The links.
    pub links: Links,
    /// Candidates for `s_user_names`.
    pub user_names: Vec<SatelliteRecord<(UserNames<'a>, Load)>>,
    /// Candidates for `s_product_names`.
    pub product_names: Vec<SatelliteRecord<(&'a str, Load)>>,
    /// Candidates for `s_restaurant_names`.
    pub restaurant_names: Vec<SatelliteRecord<(&'a str, Load)>>,
    /// Candidates for `s_order_cost`.
    pub order_cost: Vec<SatelliteRecord<(OrderCost, Load)>>,
    /// Candidates for `s_order_status`.
    pub order_status: Vec<SatelliteRecord<(&'static str, Load)>>,
}

/// Rows of the links, each link sorted by its hubs.
#[derive(Debug, Default)]
pub struct Links {
    /// `l_order_user`.
    pub order_user: Vec<LinkRow>,
    /// `l_order_product`.
    pub order_product: Vec<LinkRow>,
    /// `l_order_category`.
    pub order_category: Vec<LinkRow>,
    /// `l_product_restaurant`.
    pub product_restaurant: Vec<LinkRow>,
    /// `l_product_category`.
    pub product_category: Vec<LinkRow>,
}

/// What a batch is spread into before it is complete.
#[derive(Default)]
struct Builder<'a> {
    rows: VaultRows<'a>,
    order_user: LinkPairs,
    order_product: LinkPairs,
    order_category: LinkPairs,
    product_restaurant: LinkPairs,
    product_category: LinkPairs,
    names: Fingerprints<'a, 1>,
    user_names: Fingerprints<'a, 2>,
}

impl<'a> VaultRows<'a> {
    /// Spreads a batch over the tables.
    pub fn build(facts: &[OrderFact<'a>]) -> Self {
        let mut builder = Builder::default();
        for fact in facts {
            builder.push_order(fact);
            for product in &fact.products {
                builder.push_product(fact, product);
            }
        }
        let mut rows = builder.rows;
        rows.links = Links {
            order_user: link_rows(builder.order_user),
            order_product: link_rows(builder.order_product),
            order_category: link_rows(builder.order_category),
            product_restaurant: link_rows(builder.product_restaurant),
            product_category: link_rows(builder.product_category),
        };
        rows
    }
}

impl<'a> Builder<'a> {
    fn push_order(&mut self, fact: &OrderFact<'a>) {
        let (message, load, rows) = (fact.message, &fact.load, &mut self.rows);
        let payload = &message.payload;
        put_hub(&mut rows.orders, fact.order_pk, || (payload.id, payload.date), load);
        put_hub(&mut rows.users, fact.user_pk, || &*payload.user.id, load);
        put_hub(&mut rows.restaurants, fact.restaurant_pk, || &*payload.restaurant.id, load);
        put_link(&mut self.order_user, [fact.order_pk, fact.user_pk], load);
        let names: UserNames<'a> = [&payload.user.name, &payload.user.login];
        rows.user_names.push(record(fact.user_pk, load, None, self.user_names.of(names), names));
        let name: &'a str = &payload.restaurant.name;
        rows.restaurant_names.push(record(fact.restaurant_pk, load, None, self.names.of([name]), name));
        let amounts = hashdiff(&[&payload.cost.to_string(), &payload.payment.to_string()]);
        rows.order_cost.push(record(
            fact.order_pk,
            load,
            message.sent_dttm,
            amounts,
            (payload.cost, payload.payment),
        ));
        let status = payload.status.as_str();
        rows.order_status.push(record(
            fact.order_pk,
            load,
            message.sent_dttm,
            self.names.of([status]),
            status,
        ));
    }

    fn push_product(&mut self, fact: &OrderFact<'a>, product: &ProductKeys<'a>) {
        let (load, rows) = (&fact.load, &mut self.rows);
        put_hub(&mut rows.products, product.product_pk, || product.id, load);
        put_hub(&mut rows.categories, product.category_pk, || product.category, load);
        put_link(&mut self.order_product, [fact.order_pk, product.product_pk], load);
        put_link(&mut self.order_category, [fact.order_pk, product.category_pk], load);
        put_link(&mut self.product_restaurant, [product.product_pk, fact.restaurant_pk], load);
        put_link(&mut self.product_category, [product.product_pk, product.category_pk], load);
        let name = self.names.of([product.name]);
        rows.product_names.push(record(product.product_pk, load, None, name, product.name));
    }
}
