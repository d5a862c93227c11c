//! What the vault holds of orders: the statements that ask for it, and what their answers mean. Pure.
//!
//! These statements join tables, which no description of one says, so they are written out here.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::countable::{LinkedProduct, OrderState};

/// Orders that were CLOSED once. `$1` order keys uuid[]. **Columns**: order key.
pub const CLOSED: &str =
    "select distinct h_order_pk from dds.s_order_status where h_order_pk = any($1) and status = 'CLOSED'";

/// Users of orders, in the order in which they came. `$1` order keys uuid[]. **Columns**: order key, user key.
pub const USERS: &str = "select h_order_pk, h_user_pk from dds.l_order_user \
     where h_order_pk = any($1) order by load_dt, h_user_pk";

/// Categories of orders. `$1` order keys uuid[]. **Columns**: order key, category key, name.
pub const CATEGORIES: &str = "select l.h_order_pk, l.h_category_pk, h.category_name \
     from dds.l_order_category as l \
     join dds.h_category as h using (h_category_pk) \
     where l.h_order_pk = any($1)";

/// Products of orders, each with its newest name and a category that both it and the order are linked to.
/// `$1` order keys uuid[]. **Columns**: order key, product key, name, category key or null.
pub const PRODUCTS: &str = "select \
         l.h_order_pk, \
         l.h_product_pk, \
         n.name, \
         (select pc.h_category_pk \
          from dds.l_product_category as pc \
          join dds.l_order_category as oc \
              on oc.h_order_pk = l.h_order_pk and oc.h_category_pk = pc.h_category_pk \
          where pc.h_product_pk = l.h_product_pk \
          order by pc.h_category_pk \
          limit 1) \
     from dds.l_order_product as l \
     cross join lateral ( \
         select s.name \
         from dds.s_product_names as s \
         where s.h_product_pk = l.h_product_pk \
         order by s.load_dt desc, s.load_seq desc \
         limit 1 \
     ) as n \
     where l.h_order_pk = any($1)";

/// Products of orders with the name of the category that [`PRODUCTS`] finds, where there is one. `$1` order keys uuid[].
/// **Columns**: order key, product key, name of the category.
pub const PRODUCT_CATEGORIES: &str = "select distinct on (l.h_order_pk, l.h_product_pk) \
         l.h_order_pk, \
         l.h_product_pk, \
         h.category_name \
     from dds.l_order_product as l \
     join dds.l_product_category as pc using (h_product_pk) \
     join dds.l_order_category as oc on oc.h_order_pk = l.h_order_pk and oc.h_category_pk = pc.h_category_pk \
     join dds.h_category as h on h.h_category_pk = pc.h_category_pk \
     where l.h_order_pk = any($1) \
     order by l.h_order_pk, l.h_product_pk, pc.h_category_pk";

/// A row of [`PRODUCTS`].
pub type ProductRow = (Uuid, Uuid, String, Option<Uuid>);

/// What the vault holds of orders, by key.
#[derive(Debug, Default)]
pub struct Stored(pub BTreeMap<Uuid, OrderState<'static>>);

impl Stored {
    fn state(&mut self, order: Uuid) -> &mut OrderState<'static> {
        self.0.entry(order).or_default()
    }

    /// Adds the answer to [`CLOSED`].
    pub fn add_closed(&mut self, rows: Vec<Uuid>) {
        for order in rows {
            self.state(order).closed = true;
        }
    }

    /// Adds the answer to [`USERS`].
    pub fn add_users(&mut self, rows: Vec<(Uuid, Uuid)>) {
        for (order, user) in rows {
            self.state(order).users.push(user);
        }
    }

    /// Adds the answer to [`CATEGORIES`].
    pub fn add_categories(&mut self, rows: Vec<(Uuid, Uuid, String)>) {
        for (order, category, name) in rows {
            self.state(order).categories.insert(category, name.into());
        }
    }

    /// Adds the answer to [`PRODUCTS`].
    pub fn add_products(&mut self, rows: Vec<ProductRow>) {
        for (order, product, name, category_pk) in rows {
            self.state(order).products.insert(product, LinkedProduct { name: name.into(), category_pk });
        }
    }
}
