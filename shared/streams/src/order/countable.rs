//! Which products and categories of an order become countable with a message. Pure.
//!
//! An order counts once it has ever been CLOSED, for every user, product and category it was ever linked
//! to. The state only grows, so what a message adds is the difference before and after it.

use std::collections::BTreeMap;

use crate::order::counted::OBJECT_TYPE;
use crate::order::{CountedElement, CountedMessage, CountedPayload, OrderStatus};
use strata_events::Text;
use strata_vault::link_key;
use uuid::Uuid;

use crate::order::rows::OrderFact;

/// A product that an order holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedProduct<'a> {
    /// Name, the newest known.
    pub name: Text<'a>,
    /// A category of this order that it belongs to, where known.
    pub category_pk: Option<Uuid>,
}

/// What the vault knows of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderState<'a> {
    /// It has been CLOSED once.
    pub closed: bool,
    /// Users it was linked to.
    pub users: Vec<Uuid>,
    /// Products it was linked to.
    pub products: BTreeMap<Uuid, LinkedProduct<'a>>,
    /// Categories it was linked to, by name.
    pub categories: BTreeMap<Uuid, Text<'a>>,
}

/// What newly counts for one user.
struct Fresh {
    user_pk: Uuid,
    products: Vec<Uuid>,
    categories: Vec<Uuid>,
}

impl<'a> OrderState<'a> {
    /// Adds a message and returns what it makes countable; none where it makes nothing so.
    pub fn add(&mut self, fact: &OrderFact<'a>) -> Option<CountedMessage<'_>> {
        let was_closed = self.closed;
        let new_user = !self.users.contains(&fact.user_pk);
        let new_products: Vec<Uuid> =
            self.new_keys(fact.products.iter().map(|p| p.product_pk), |s, k| s.products.contains_key(k));
        let new_categories: Vec<Uuid> =
            self.new_keys(fact.products.iter().map(|p| p.category_pk), |s, k| s.categories.contains_key(k));
        self.merge(fact, new_user);
        if !self.closed {
            return None;
        }
        let mut elements = Vec::new();
        for &user_pk in &self.users {
            let all = !was_closed || (new_user && user_pk == fact.user_pk);
            let fresh = if all {
                let (products, categories) = (self.products.keys(), self.categories.keys());
                Fresh {
                    user_pk,
                    products: products.copied().collect(),
                    categories: categories.copied().collect(),
                }
            } else {
                Fresh { user_pk, products: new_products.clone(), categories: new_categories.clone() }
            };
            elements.extend(self.elements(fact, fresh));
        }
        (!elements.is_empty()).then_some(CountedMessage(elements))
    }

    fn new_keys(&self, keys: impl Iterator<Item = Uuid>, known: impl Fn(&Self, &Uuid) -> bool) -> Vec<Uuid> {
        let mut new: Vec<Uuid> = keys.filter(|key| !known(self, key)).collect();
        new.sort_unstable();
        new.dedup();
        new
    }

    fn merge(&mut self, fact: &OrderFact<'a>, new_user: bool) {
        self.closed |= fact.message.payload.status == OrderStatus::Closed;
        if new_user {
            self.users.push(fact.user_pk);
        }
        for product in &fact.products {
            let linked = LinkedProduct { name: product.name.into(), category_pk: Some(product.category_pk) };
            self.products.insert(product.product_pk, linked);
            self.categories.entry(product.category_pk).or_insert_with(|| product.category.into());
        }
    }

    /// Pairs fresh products with categories; either half that was counted before is marked so.
    fn elements(&self, fact: &OrderFact<'_>, fresh: Fresh) -> Vec<CountedElement<'_>> {
        let mut uncovered = fresh.categories.clone();
        let mut pairs: Vec<(Uuid, Uuid, bool, bool)> = Vec::with_capacity(fresh.products.len());
        for &product_pk in &fresh.products {
            let Some(category_pk) = self.category_of(product_pk) else { continue };
            uncovered.retain(|key| *key != category_pk);
            pairs.push((product_pk, category_pk, false, !fresh.categories.contains(&category_pk)));
        }
        for category_pk in uncovered {
            let carrier = self.products.iter().find(|(_, linked)| linked.category_pk == Some(category_pk));
            let Some((&product_pk, _)) = carrier.or_else(|| self.products.iter().next()) else { continue };
            pairs.push((product_pk, category_pk, true, false));
        }
        let element =
            |(product_pk, category_pk, product_counted, category_counted): (Uuid, Uuid, bool, bool)| {
                CountedElement {
                    // The same element has the same identity, however often it is made.
                    object_id: link_key(&[fact.order_pk, fresh.user_pk, product_pk, category_pk]),
                    object_type: OBJECT_TYPE.into(),
                    payload: CountedPayload {
                        order_id: fact.order_pk,
                        user_id: fresh.user_pk,
                        product_id: product_pk,
                        product_name: self.products.get(&product_pk).map_or("", |p| &*p.name).into(),
                        category_id: category_pk,
                        category_name: self.categories.get(&category_pk).map_or("", |name| &**name).into(),
                        product_counted,
                        category_counted,
                    },
                }
            };
        pairs.into_iter().map(element).collect()
    }

    /// A category of this order for a product; any one where its own is not known any more.
    fn category_of(&self, product_pk: Uuid) -> Option<Uuid> {
        let own = self.products.get(&product_pk).and_then(|linked| linked.category_pk);
        own.filter(|key| self.categories.contains_key(key)).or_else(|| self.categories.keys().next().copied())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::order::{FactMessage, FactProduct};
    use chrono::DateTime;
    use proptest::prelude::*;
    use strata_events::{Contract, Origin};
    use strata_vault::rows::{Keys, Load};

    use super::*;

    const GOLDEN: &[u8] = crate::order::golden::FACT.as_bytes();

    /// A version of order 1: status, user, products as (product, category).
    fn version(status: OrderStatus, user: u8, products: &[(u8, u8)]) -> FactMessage<'static> {
        let mut message = FactMessage::decode(GOLDEN).expect("golden");
        message.payload.status = status;
        message.payload.user.id = format!("{user:024x}").into();
        let template: FactProduct<'_> = message.payload.products[0].clone();
        let make = |&(product, category): &(u8, u8)| FactProduct {
            id: format!("{product:024x}").into(),
            category: format!("category {category}").into(),
            ..template.clone()
        };
        message.payload.products = products.iter().map(make).collect();
        message
    }

    /// What a message announces, by value: the state and the message it came from go on.
    fn add(state: &mut OrderState<'static>, message: &FactMessage<'static>) -> Vec<CountedPayload<'static>> {
        let message = Box::leak(Box::new(message.clone()));
        let origin = Origin { topic: "stg_topic".into(), partition: 0, offset: 0 };
        let load = Load::new(DateTime::UNIX_EPOCH, &origin);
        let fact = OrderFact::new(message, load, &mut Keys::default());
        let announced = state.add(&fact).map(|message| message.0).unwrap_or_default();
        let owned = |CountedElement { payload, .. }| CountedPayload {
            product_name: payload.product_name.to_string().into(),
            category_name: payload.category_name.to_string().into(),
            ..payload
        };
        announced.into_iter().map(owned).collect()
    }

    #[test]
    fn the_golden_order_announces_both_products() {
        let message = FactMessage::decode(GOLDEN).expect("golden");
        let announced = add(&mut OrderState::default(), &message);
        let expected = CountedMessage::decode(crate::order::golden::COUNTED.as_bytes());
        let mut expected: Vec<_> = expected.expect("golden").0.into_iter().map(|e| e.payload).collect();
        expected.sort_by_key(|payload| payload.product_id);
        assert_eq!(
            serde_json::to_value(&expected).expect("JSON"),
            serde_json::to_value({
                let mut sorted = announced;
                sorted.sort_by_key(|payload| payload.product_id);
                sorted
            })
            .expect("JSON")
        );
    }

    #[test]
    fn an_order_counts_when_it_is_first_closed_and_never_again() {
        let mut state = OrderState::default();
        assert_eq!(add(&mut state, &version(OrderStatus::Open, 1, &[(1, 1)])), []);
        assert_eq!(add(&mut state, &version(OrderStatus::Closed, 1, &[(1, 1)])).len(), 1);
        assert_eq!(add(&mut state, &version(OrderStatus::Closed, 1, &[(1, 1)])), []);
        assert_eq!(add(&mut state, &version(OrderStatus::Cancelled, 1, &[(1, 1)])), []);
    }

    #[test]
    fn a_product_of_an_earlier_version_counts_when_the_order_closes() {
        let mut state = OrderState::default();
        add(&mut state, &version(OrderStatus::Open, 1, &[(1, 1), (2, 2)]));
        let counted = add(&mut state, &version(OrderStatus::Closed, 1, &[(1, 1)]));
        assert_eq!(counted.len(), 2);
    }

    #[test]
    fn a_product_that_comes_later_counts_alone() {
        let mut state = OrderState::default();
        add(&mut state, &version(OrderStatus::Closed, 1, &[(1, 1)]));
        let counted = add(&mut state, &version(OrderStatus::Cancelled, 1, &[(1, 1), (2, 1)]));
        assert_eq!(counted.len(), 1);
        assert!(counted[0].category_counted && !counted[0].product_counted);
    }

    #[test]
    fn a_dish_moved_to_another_category_counts_there_too() {
        let mut state = OrderState::default();
        add(&mut state, &version(OrderStatus::Closed, 1, &[(1, 1)]));
        let counted = add(&mut state, &version(OrderStatus::Closed, 1, &[(1, 2)]));
        assert_eq!(counted.len(), 1);
        assert!(counted[0].product_counted && !counted[0].category_counted);
    }

    /// What a list of announcements adds to the counters.
    fn fold<'a>(announced: impl IntoIterator<Item = Vec<CountedPayload<'a>>>) -> Vec<(char, Uuid, Uuid)> {
        let mut counted = Vec::new();
        for message in announced {
            let mut once = BTreeSet::new();
            for payload in message {
                if !payload.product_counted {
                    once.insert(('p', payload.user_id, payload.product_id));
                }
                if !payload.category_counted {
                    once.insert(('c', payload.user_id, payload.category_id));
                }
            }
            counted.extend(once);
        }
        counted.sort_unstable();
        counted
    }

    type Version = (bool, u8, Vec<(u8, u8)>);

    fn versions() -> impl Strategy<Value = Vec<Version>> {
        let products =
            prop::collection::btree_map(0u8..4, 0u8..3, 1..4).prop_map(|m| m.into_iter().collect());
        prop::collection::vec((any::<bool>(), 0u8..2, products), 1..8)
    }

    proptest! {
        #[test]
        fn everything_is_announced_exactly_once_in_any_order(
            (versions, shuffled) in versions().prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle())),
        ) {
            let announce = |versions: &[Version]| {
                let mut state = OrderState::default();
                let twice = versions.iter().chain(versions);
                fold(twice.map(|(closed, user, products)| {
                    let status = if *closed { OrderStatus::Closed } else { OrderStatus::Open };
                    add(&mut state, &version(status, *user, products))
                }).collect::<Vec<_>>())
            };
            // The law, said the other way round: all users × everything the order was ever linked to.
            let mut expected = BTreeSet::new();
            if versions.iter().any(|(closed, ..)| *closed) {
                for (_, user, _) in &versions {
                    let user = strata_vault::hub_key(&format!("{user:024x}"));
                    for (product, category) in versions.iter().flat_map(|(_, _, products)| products) {
                        expected.insert(('p', user, strata_vault::hub_key(&format!("{product:024x}"))));
                        expected.insert(('c', user, strata_vault::hub_key(&format!("category {category}"))));
                    }
                }
            }
            let expected: Vec<_> = expected.into_iter().collect();
            prop_assert_eq!(announce(&versions), expected.clone());
            prop_assert_eq!(announce(&shuffled), expected);
        }
    }
}
