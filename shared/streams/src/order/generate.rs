//! Plausible orders, and the check of received ones.

use std::sync::Arc;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, index};
use rand::{RngExt, SeedableRng};
use rust_decimal::Decimal;
use strata_events::{Contract, Money, Reject, Restaurant};

use crate::order::{
    IdRef, OBJECT_TYPE, Order, OrderItem, OrderMessage, OrderPayload, OrderStatus, StatusChange,
};
use crate::source::{Accepted, Event, GenerateError, Generator, Snapshot, Start};

/// Orders that end CLOSED; the others are CANCELLED.
const CLOSED_SHARE: f64 = 0.9;

/// Most products of a generated order.
const MAX_DISHES: usize = 6;

/// Most pieces of one product.
const MAX_QUANTITY: u32 = 5;

/// Ids from here up to 2^53 belong to seeded orders; fresh ones stay below.
pub const SEEDED_IDS: i64 = 1 << 52;

/// Bits of a seed's own block of ids: more than one push may have.
const SEEDED_BLOCK_BITS: u32 = 24;

/// Bits of a seed that choose its block: with the block's own they fill the range.
const SEED_BITS: u32 = 28;

/// The first id of a seed's orders. Seeds that differ by a multiple of 2^28 share their ids.
pub fn seeded_first_id(seed: u64) -> i64 {
    let block = i64::try_from(seed & ((1 << SEED_BITS) - 1)).unwrap_or_default();
    SEEDED_IDS + (block << SEEDED_BLOCK_BITS)
}

/// Checks a received order; its key is its `object_id` as text.
pub fn accept(bytes: &[u8]) -> Result<Accepted, Reject> {
    let order = Order::decode(bytes)?;
    Ok(Accepted::AsReceived { key: order.object_id.to_string().into_bytes(), headers: Vec::new() })
}

/// Makes a generator of orders; `reference` holds at least one user and one restaurant with a dish.
pub fn generator(reference: Arc<Snapshot>, start: Start) -> Box<dyn Generator> {
    let next_id = match start {
        Start::Fresh { first_id } | Start::Again { first_id, .. } => first_id,
        Start::Seed(seed) => seeded_first_id(seed),
    };
    let rng = ChaCha8Rng::seed_from_u64(start.seed());
    Box::new(OrderGenerator { reference, rng, next_id, start, clock: start.clock() })
}

/// Orders one after the other.
struct OrderGenerator {
    reference: Arc<Snapshot>,
    rng: ChaCha8Rng,
    next_id: i64,
    start: Start,
    /// The time of events that can be repeated; none means now.
    clock: Option<DateTime<Utc>>,
}

impl Generator for OrderGenerator {
    fn next_event(&mut self) -> Result<Event, GenerateError> {
        let sent = self.sent_time();
        let reference = Arc::clone(&self.reference);
        let message = OrderMessage {
            object_id: self.next_id,
            object_type: OBJECT_TYPE,
            sent_dttm: sent,
            payload: self.payload(&reference, sent)?,
        };
        self.next_id += 1;
        let key = message.object_id.to_string().into_bytes();
        Ok(Event { key, payload: serde_json::to_vec(&message)?, headers: Vec::new() })
    }
}

impl OrderGenerator {
    /// When the order is sent: now, or some time after the one before.
    fn sent_time(&mut self) -> DateTime<Utc> {
        match &mut self.clock {
            Some(clock) => {
                *clock += match self.start {
                    Start::Again { gap, .. } => TimeDelta::from_std(gap).unwrap_or_default(),
                    _ => TimeDelta::milliseconds(self.rng.random_range(500..1500)),
                };
                *clock
            }
            None => {
                let now = Utc::now();
                now.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(now)
            }
        }
    }

    /// An order of somebody at some restaurant.
    fn payload<'a>(
        &mut self,
        reference: &'a Snapshot,
        sent: DateTime<Utc>,
    ) -> Result<OrderPayload<'a>, GenerateError> {
        let user = reference.users.choose(&mut self.rng).map_or("", String::as_str);
        let restaurant = reference.restaurants.choose(&mut self.rng);
        let (order_items, restaurant) = match restaurant {
            Some(restaurant) => (self.items(restaurant), restaurant.id.as_str()),
            None => (Vec::new(), ""),
        };
        let cost = cost(&order_items).ok_or_else(|| GenerateError::Cost(restaurant.to_owned()))?;
        let (payment, bonus_payment) = self.split_payment(cost);
        let closed = self.rng.random_bool(CLOSED_SHARE);
        let (date, statuses) = self.way(sent, closed);
        let bonus_grant = if closed { percent(payment, 1) } else { Money::default() };
        Ok(OrderPayload {
            restaurant: IdRef { id: restaurant.into() },
            date,
            user: IdRef { id: user.into() },
            order_items,
            bonus_payment,
            cost,
            payment,
            bonus_grant,
            final_status: if closed { OrderStatus::Closed } else { OrderStatus::Cancelled },
            update_ts: statuses.last().map(|change| change.dttm),
            statuses,
        })
    }

    /// Some dishes of the menu, each once.
    fn items<'a>(&mut self, restaurant: &'a Restaurant) -> Vec<OrderItem<'a>> {
        let menu = &restaurant.menu;
        let amount = self.rng.random_range(1..=MAX_DISHES).min(menu.len());
        let chosen = index::sample(&mut self.rng, menu.len(), amount);
        chosen
            .iter()
            .filter_map(|at| menu.get(at))
            .map(|dish| OrderItem {
                name: Some(dish.name.as_str().into()),
                price: Some(dish.price),
                category: Some(dish.category.as_str().into()),
                id: dish.id.as_str().into(),
                quantity: self.rng.random_range(1..=MAX_QUANTITY),
            })
            .collect()
    }

    /// Payment and bonus payment: one order in ten is paid with bonus points, up to a fifth of it.
    fn split_payment(&mut self, cost: Money) -> (Money, Money) {
        if !self.rng.random_bool(0.1) {
            return (cost, Money::default());
        }
        let bonus = percent(cost, self.rng.random_range(5..=20));
        let payment = Money::from_decimal(cost.decimal() - bonus.decimal()).unwrap_or(cost);
        (payment, bonus)
    }

    /// The order's date and its statuses, the last one just before `sent`.
    fn way(&mut self, sent: DateTime<Utc>, closed: bool) -> (DateTime<Utc>, Vec<StatusChange>) {
        let steps: &[OrderStatus] = if closed {
            &[OrderStatus::Open, OrderStatus::Cooking, OrderStatus::Delivering, OrderStatus::Closed]
        } else if self.rng.random_bool(0.5) {
            &[OrderStatus::Open, OrderStatus::Cancelled]
        } else {
            &[OrderStatus::Open, OrderStatus::Cooking, OrderStatus::Cancelled]
        };
        // Backwards, because the end is what is known.
        let mut at = sent - TimeDelta::seconds(self.rng.random_range(1..30));
        let mut statuses = Vec::with_capacity(steps.len());
        for status in steps.iter().rev() {
            statuses.push(StatusChange { status: *status, dttm: at });
            at -= TimeDelta::seconds(self.rng.random_range(180..1800));
        }
        statuses.reverse();
        (at, statuses)
    }
}

/// Sum of price × quantity; none where it is too large for the warehouse.
fn cost(items: &[OrderItem<'_>]) -> Option<Money> {
    let sum = items.iter().try_fold(Decimal::ZERO, |sum, item| {
        let price = item.price.unwrap_or_default().decimal();
        sum.checked_add(price.checked_mul(Decimal::from(item.quantity))?)
    });
    sum.and_then(Money::from_decimal)
}

/// A whole number of percent of an amount, rounded down to whole units.
fn percent(amount: Money, percent: u32) -> Money {
    let part = amount.decimal() * Decimal::from(percent) / Decimal::ONE_HUNDRED;
    Money::from_decimal(part.floor()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::order::catalog;

    fn snapshot() -> Arc<Snapshot> {
        let users = catalog::users().into_iter().map(|user| user.id).collect();
        Arc::new(Snapshot { users, restaurants: catalog::restaurants() })
    }

    fn take(start: Start, n: usize) -> Vec<Event> {
        let mut generator = generator(snapshot(), start);
        (0..n).map(|_| generator.next_event().unwrap()).collect()
    }

    #[test]
    fn generated_orders_are_valid_and_add_up() {
        let mut closed = 0;
        for (at, event) in take(Start::Fresh { first_id: 7 }, 2000).iter().enumerate() {
            let order = Order::decode(&event.payload).unwrap();
            let payload = &order.payload;
            assert_eq!(order.object_id, 7 + at as i64);
            assert_eq!(event.key, order.object_id.to_string().into_bytes());
            assert_eq!(Some(payload.cost), cost(&payload.order_items));
            assert_eq!(payload.cost.decimal(), payload.payment.decimal() + payload.bonus_payment.decimal());
            assert!((1..=MAX_DISHES).contains(&payload.order_items.len()));
            assert!(payload.order_items.iter().all(|item| (1..=MAX_QUANTITY).contains(&item.quantity)));
            assert!(payload.date < payload.statuses[0].dttm);
            assert!(payload.statuses.is_sorted_by_key(|change| change.dttm));
            assert_eq!(payload.statuses.last().unwrap().status, payload.final_status);
            assert!(payload.update_ts.unwrap() < order.sent_dttm);
            closed += usize::from(payload.final_status == OrderStatus::Closed);
        }
        assert!((1700..1900).contains(&closed), "{closed} of 2000 are closed");
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let (short, long) = (take(Start::Seed(42), 10), take(Start::Seed(42), 300));
        assert_eq!(short, long[..10]);
        assert_ne!(take(Start::Seed(43), 10), short);
        for event in long {
            accept(&event.payload).unwrap();
        }
    }

    #[test]
    fn a_push_that_is_repeated_gives_the_same_bytes_dated_from_its_beginning() {
        let gap = Duration::from_millis(20);
        let again = |id| Start::Again { first_id: 7, id, gap };
        let id = Uuid::now_v7();
        let (first, second) = (take(again(id), 50), take(again(id), 200));
        assert_eq!(first, second[..50]);
        assert_ne!(take(again(Uuid::now_v7()), 50), first);
        let sent = |event: &Event| Order::decode(&event.payload).unwrap().sent_dttm;
        assert!((Utc::now() - sent(&first[0])).num_seconds() < 10);
        assert_eq!(sent(&first[49]) - sent(&first[0]), TimeDelta::milliseconds(49 * 20));
        // Ids that somebody made up are dated like today, or like seeded events.
        for made_up in ["00000000-0000-7000-8000-000000000000", "ffffffff-ffff-7fff-bfff-ffffffffffff"] {
            let at = sent(&take(again(made_up.parse().unwrap()), 1)[0]).timestamp();
            assert!((crate::source::SEEDED_EPOCH..=Utc::now().timestamp() + 1).contains(&at), "{made_up}");
        }
    }

    #[test]
    fn ids_of_a_run_are_distinct_and_seeds_have_blocks_of_their_own() {
        let ids: HashSet<Vec<u8>> = take(Start::Seed(1), 5000).into_iter().map(|event| event.key).collect();
        assert_eq!(ids.len(), 5000);
        let most = i64::from(crate::source::MAX_EVENTS);
        for (one, next) in [(0, 1), (41, 42), ((1 << SEED_BITS) - 2, (1 << SEED_BITS) - 1)] {
            assert!(seeded_first_id(one) + most <= seeded_first_id(next));
        }
        assert_eq!(seeded_first_id(0), SEEDED_IDS);
        assert!(seeded_first_id(u64::MAX) + most <= 1 << 53);
    }

    #[test]
    fn an_order_that_the_warehouse_cannot_hold_is_not_made() {
        let mut restaurants = catalog::restaurants();
        for dish in restaurants.iter_mut().flat_map(|restaurant| &mut restaurant.menu) {
            dish.price = Money::from(99_999_999_999_999);
        }
        let mut reference = Arc::unwrap_or_clone(snapshot());
        reference.restaurants = restaurants;
        let mut generator = generator(Arc::new(reference), Start::Seed(3));
        let mut results = (0..50).map(|_| generator.next_event());
        assert!(results.any(|result| matches!(result, Err(GenerateError::Cost(_)))));
    }
}
