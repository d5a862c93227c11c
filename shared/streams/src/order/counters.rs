//! A batch of messages as increments: one a counter, sorted by key. Pure.

use std::collections::BTreeSet;

use uuid::Uuid;

pub use crate::mart::Increments;
use crate::order::CountedMessage;

/// What a batch adds to both tables.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// For `cdm.user_product_counters`.
    pub products: Increments,
    /// For `cdm.user_category_counters`.
    pub categories: Increments,
}

impl Counted {
    /// Adds a message: within it every (order, user, product) and (order, user, category) counts once.
    pub fn add(&mut self, message: &CountedMessage<'_>) {
        let (mut products, mut categories) = (BTreeSet::new(), BTreeSet::new());
        for element in &message.0 {
            let payload = &element.payload;
            let (order, user) = (payload.order_id, payload.user_id);
            if !payload.product_counted && products.insert((order, user, payload.product_id)) {
                increment(&mut self.products, (user, payload.product_id), &payload.product_name);
            }
            if !payload.category_counted && categories.insert((order, user, payload.category_id)) {
                increment(&mut self.categories, (user, payload.category_id), &payload.category_name);
            }
        }
    }
}

fn increment(increments: &mut Increments, key: (Uuid, Uuid), name: &str) {
    let counter = increments.entry(key).or_default();
    if counter.0 != name {
        name.clone_into(&mut counter.0);
    }
    counter.1 += 1;
}

#[cfg(test)]
mod tests {
    use strata_events::Contract;

    use super::*;

    const GOLDEN: &[u8] = crate::order::golden::COUNTED.as_bytes();

    #[test]
    fn two_products_of_one_category_are_one_order_of_the_category() {
        let mut counted = Counted::default();
        counted.add(&CountedMessage::decode(GOLDEN).expect("golden"));
        assert_eq!(counted.products.values().map(|(_, n)| *n).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(counted.categories.values().cloned().collect::<Vec<_>>(), [("Супы".to_owned(), 1)]);
    }

    #[test]
    fn a_half_that_was_counted_before_adds_nothing() {
        let mut message = CountedMessage::decode(GOLDEN).expect("golden");
        message.0[0].payload.product_counted = true;
        message.0.iter_mut().for_each(|element| element.payload.category_counted = true);
        let mut counted = Counted::default();
        counted.add(&message);
        assert_eq!(counted.products.len(), 1);
        assert!(counted.categories.is_empty());
    }
}
