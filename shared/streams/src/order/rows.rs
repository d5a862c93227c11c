//! A batch of orders as rows of the vault: keys computed once, one row a key, sorted. Pure.

use crate::order::{FactMessage, Order, OrderStatus};
use strata_events::Money;
use strata_vault::rows::{Batch, Combinations, Fingerprints, KeyedRows, Keys, Load, Rows, SatelliteRows};
use strata_vault::{Sent, Value, fingerprint, hub_key};
use uuid::Uuid;

use super::vault::{
    CATEGORY, ORDER, ORDER_CATEGORY, ORDER_COST, ORDER_PRODUCT, ORDER_STATUS, ORDER_USER, PRODUCT,
    PRODUCT_CATEGORY, PRODUCT_NAMES, PRODUCT_RESTAURANT, RESTAURANT, RESTAURANT_NAMES, USER_NAMES,
};
use crate::vault::USER;

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

/// Spreads a batch over the tables.
pub fn spread<'a>(facts: &[OrderFact<'a>]) -> Rows<'a> {
    let mut builder = Builder::new();
    for fact in facts {
        builder.push_order(fact);
        for product in &fact.products {
            builder.push_product(fact, product);
        }
    }
    builder.rows()
}

/// What an order brings that no reference data change: itself, its user and products, what it cost and where it stands.
pub fn bare<'a>(order: &'a Order<'_>, load: &Load) -> Rows<'a> {
    let (payload, order_pk) = (&order.payload, hub_key(&order.object_id.to_string()));
    let mut builder = Builder::new();
    builder.push(
        order_pk,
        &Said {
            order: [Value::BigInt(order.object_id), Value::Timestamp(payload.date)],
            user: (hub_key(&payload.user.id), &payload.user.id),
            amounts: [payload.cost, payload.payment],
            status: payload.final_status,
            sent: Some(order.sent_dttm),
        },
        load,
    );
    for item in &payload.order_items {
        let product_pk = hub_key(&item.id);
        builder.products.put(product_pk, || [Value::Text(&item.id)], load);
        builder.order_product.put([order_pk, product_pk], load);
    }
    builder.rows()
}

/// What an order says whatever the reference data.
struct Said<'a> {
    order: [Value<'a>; 2],
    user: (Uuid, &'a str),
    amounts: [Money; 2],
    status: OrderStatus,
    sent: Sent,
}

/// What a batch is spread into before it is complete.
struct Builder<'a> {
    orders: KeyedRows<'a>,
    users: KeyedRows<'a>,
    products: KeyedRows<'a>,
    categories: KeyedRows<'a>,
    restaurants: KeyedRows<'a>,
    order_user: Combinations<2>,
    order_product: Combinations<2>,
    order_category: Combinations<2>,
    product_restaurant: Combinations<2>,
    product_category: Combinations<2>,
    user_names: SatelliteRows<'a>,
    product_names: SatelliteRows<'a>,
    restaurant_names: SatelliteRows<'a>,
    order_cost: SatelliteRows<'a>,
    order_status: SatelliteRows<'a>,
    one: Fingerprints<'a, 1>,
    two: Fingerprints<'a, 2>,
}

impl<'a> Builder<'a> {
    fn new() -> Self {
        Self {
            orders: KeyedRows::hub(&ORDER),
            users: KeyedRows::hub(&USER),
            products: KeyedRows::hub(&PRODUCT),
            categories: KeyedRows::hub(&CATEGORY),
            restaurants: KeyedRows::hub(&RESTAURANT),
            order_user: Combinations::of(&ORDER_USER),
            order_product: Combinations::of(&ORDER_PRODUCT),
            order_category: Combinations::of(&ORDER_CATEGORY),
            product_restaurant: Combinations::of(&PRODUCT_RESTAURANT),
            product_category: Combinations::of(&PRODUCT_CATEGORY),
            user_names: SatelliteRows::of(&USER_NAMES),
            product_names: SatelliteRows::of(&PRODUCT_NAMES),
            restaurant_names: SatelliteRows::of(&RESTAURANT_NAMES),
            order_cost: SatelliteRows::of(&ORDER_COST),
            order_status: SatelliteRows::of(&ORDER_STATUS),
            one: Fingerprints::default(),
            two: Fingerprints::default(),
        }
    }

    fn push(&mut self, order_pk: Uuid, said: &Said<'a>, load: &Load) {
        let (user_pk, user_id) = said.user;
        self.orders.put(order_pk, || said.order, load);
        self.users.put(user_pk, || [Value::Text(user_id)], load);
        self.order_user.put([order_pk, user_pk], load);
        let amounts = said.amounts.map(|amount| Value::Numeric(amount.decimal()));
        self.order_cost.push(order_pk, load, said.sent, fingerprint(amounts), amounts);
        let status = [Value::Text(said.status.as_str())];
        self.order_status.push(order_pk, load, said.sent, self.one.of(status), status);
    }

    fn push_order(&mut self, fact: &OrderFact<'a>) {
        let (message, load) = (fact.message, &fact.load);
        let payload = &message.payload;
        let said = Said {
            order: [Value::BigInt(payload.id), Value::Timestamp(payload.date)],
            user: (fact.user_pk, &payload.user.id),
            amounts: [payload.cost, payload.payment],
            status: payload.status,
            sent: message.sent_dttm,
        };
        self.push(fact.order_pk, &said, load);
        self.restaurants.put(fact.restaurant_pk, || [Value::Text(&payload.restaurant.id)], load);
        let names = [Value::Text(&payload.user.name), Value::Text(&payload.user.login)];
        self.user_names.push(fact.user_pk, load, None, self.two.of(names), names);
        let name = [Value::Text(&payload.restaurant.name)];
        self.restaurant_names.push(fact.restaurant_pk, load, None, self.one.of(name), name);
    }

    fn push_product(&mut self, fact: &OrderFact<'a>, product: &ProductKeys<'a>) {
        let load = &fact.load;
        self.products.put(product.product_pk, || [Value::Text(product.id)], load);
        self.categories.put(product.category_pk, || [Value::Text(product.category)], load);
        self.order_product.put([fact.order_pk, product.product_pk], load);
        self.order_category.put([fact.order_pk, product.category_pk], load);
        self.product_restaurant.put([product.product_pk, fact.restaurant_pk], load);
        self.product_category.put([product.product_pk, product.category_pk], load);
        let name = [Value::Text(product.name)];
        self.product_names.push(product.product_pk, load, None, self.one.of(name), name);
    }

    /// The rows, in the order of the model.
    fn rows(self) -> Rows<'a> {
        let links = [
            self.order_user,
            self.order_product,
            self.order_category,
            self.product_restaurant,
            self.product_category,
        ];
        Rows {
            subjects: self.orders,
            rest: Batch {
                hubs: vec![self.users, self.products, self.categories, self.restaurants],
                links: links.into_iter().map(Combinations::rows).collect(),
                satellites: vec![
                    self.user_names,
                    self.product_names,
                    self.restaurant_names,
                    self.order_cost,
                    self.order_status,
                ],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::vault::MODEL;

    #[test]
    fn a_batch_brings_every_table_in_the_order_of_the_model() {
        let Rows { subjects, rest: Batch { hubs, links, satellites } } = spread(&[]);
        let hubs: Vec<&str> =
            [subjects.table.table()].into_iter().chain(hubs.iter().map(|rows| rows.table.table())).collect();
        assert_eq!(hubs, MODEL.hubs.iter().map(|hub| hub.table).collect::<Vec<_>>());
        let links: Vec<&str> = links.iter().map(|rows| rows.link.table).collect();
        assert_eq!(links, MODEL.links.iter().map(|link| link.table).collect::<Vec<_>>());
        let satellites: Vec<&str> = satellites.iter().map(|rows| rows.satellite.table).collect();
        assert_eq!(satellites, MODEL.satellites.iter().map(|satellite| satellite.table).collect::<Vec<_>>());
    }
}
