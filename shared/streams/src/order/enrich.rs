//! From an order as the shop sends it to one with the names that the vault keeps. Pure.

use crate::order::OBJECT_TYPE;
use crate::order::{FactMessage, FactPayload, FactProduct, NamedRef, Order, OrderItem, UserRef};
use strata_events::{MenuItem, Reference, Reject};

use crate::reference::ReferenceData;

/// Looks names and categories up; the price is the order's, else the menu's.
///
/// **Errors**: parked, as `unknown_user`, `unknown_restaurant` or `unknown_product`, until all that it names is there.
pub fn enrich<'a>(order: &'a Order<'_>, reference: &'a ReferenceData) -> Result<FactMessage<'a>, Reject> {
    let payload = &order.payload;
    let restaurant_id = &*payload.restaurant.id;
    let mut missing = Vec::new();
    let user = reference.users.get(&*payload.user.id);
    if user.is_none() {
        missing.push(Reference::User(payload.user.id.to_string()));
    }
    let menu = reference.restaurants.get(restaurant_id);
    let mut products = Vec::with_capacity(payload.order_items.len());
    if let Some(menu) = menu {
        for item in &payload.order_items {
            match menu.dishes.get(&*item.id) {
                Some(dish) => products.push(product(item, dish)),
                None => missing.push(Reference::Product {
                    restaurant: restaurant_id.to_owned(),
                    product: item.id.to_string(),
                }),
            }
        }
    } else {
        missing.push(Reference::Restaurant(restaurant_id.to_owned()));
    }
    let (Some(user), Some(menu), []) = (user, menu, &missing[..]) else { return Err(unknown(&missing)) };
    Ok(FactMessage {
        object_id: order.object_id,
        object_type: OBJECT_TYPE.into(),
        sent_dttm: Some(order.sent_dttm),
        payload: FactPayload {
            id: order.object_id,
            date: payload.date,
            cost: payload.cost,
            payment: payload.payment,
            status: payload.final_status,
            restaurant: NamedRef { id: restaurant_id.into(), name: menu.name.as_str().into() },
            user: UserRef {
                id: user.id.as_str().into(),
                name: user.name.as_str().into(),
                login: user.login.as_str().into(),
            },
            products,
        },
    })
}

fn product<'a>(item: &'a OrderItem<'_>, dish: &'a MenuItem) -> FactProduct<'a> {
    FactProduct {
        id: (&*item.id).into(),
        price: item.price.unwrap_or(dish.price),
        quantity: item.quantity,
        name: dish.name.as_str().into(),
        category: dish.category.as_str().into(),
    }
}

/// The refusal of an order that waits for all that is missing; it is named after the first.
fn unknown(missing: &[Reference]) -> Reject {
    let (code, mut detail) = match missing.first() {
        Some(Reference::User(id)) => ("unknown_user", format!("user {id} is not in the reference data")),
        Some(Reference::Product { restaurant, product }) => {
            ("unknown_product", format!("product {product} is not on the menu of restaurant {restaurant}"))
        }
        Some(Reference::Restaurant(id)) => {
            ("unknown_restaurant", format!("restaurant {id} is not in the reference data"))
        }
        None => ("unknown_restaurant", String::new()),
    };
    if missing.len() > 1 {
        detail = format!("{detail}, and {} more", missing.len() - 1);
    }
    Reject::new(code, detail).parked(missing.iter().map(Reference::to_string).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;
    use strata_events::reject::Class;
    use strata_events::{Contract, Restaurant, User};

    use super::*;

    const ORDER: &[u8] = crate::order::golden::RAW.as_bytes();
    const FACT: &[u8] = crate::order::golden::FACT.as_bytes();
    const USER: &[u8] = crate::order::golden::USER.as_bytes();
    const RESTAURANT: &[u8] = crate::order::golden::RESTAURANT.as_bytes();

    fn golden() -> (Order<'static>, ReferenceData) {
        let user = User::decode(USER).expect("user");
        let restaurant = Restaurant::decode(RESTAURANT).expect("restaurant");
        let mut reference = ReferenceData::default();
        reference.restaurants.insert(restaurant.id.clone(), Arc::new(restaurant.into()));
        reference.users.insert(user.id.clone(), Arc::new(user));
        (Order::decode(ORDER).expect("order"), reference)
    }

    #[test]
    fn the_golden_order_becomes_the_golden_fact() {
        let (order, reference) = golden();
        let fact = serde_json::to_value(enrich(&order, &reference).expect("known")).expect("JSON");
        let mut expected = FactMessage::decode(FACT).expect("fact");
        expected.sent_dttm = Some(order.sent_dttm);
        let expected: Value = serde_json::to_value(expected).expect("JSON");
        assert_eq!(fact, expected);
    }

    #[test]
    fn a_price_that_the_order_lacks_comes_from_the_menu() {
        let (mut order, reference) = golden();
        order.payload.order_items[0].price = None;
        let fact = enrich(&order, &reference).expect("known");
        assert_eq!(fact.payload.products[0].price.to_string(), "641");
    }

    #[test]
    fn what_is_not_in_the_reference_data_is_rejected_by_name() {
        let unknown = "000000000000000000000000";
        type Break = (&'static str, fn(&mut Order<'_>, &'static str));
        let break_it: [Break; 3] = [
            ("unknown_user", |order, id| order.payload.user.id = id.into()),
            ("unknown_restaurant", |order, id| order.payload.restaurant.id = id.into()),
            ("unknown_product", |order, id| order.payload.order_items[1].id = id.into()),
        ];
        for (code, change) in break_it {
            let (mut order, reference) = golden();
            change(&mut order, unknown);
            let reject = enrich(&order, &reference).expect_err(code);
            assert_eq!(reject.code, code);
            assert!(reject.detail.contains(unknown));
        }
    }

    #[test]
    fn an_order_waits_for_all_that_is_missing() {
        let (user, restaurant, product) =
            ("a00000000000000000000000", "b00000000000000000000000", "c00000000000000000000000");
        let (mut order, reference) = golden();
        order.payload.user.id = user.into();
        let dishes = order.payload.order_items.len();
        for item in &mut order.payload.order_items {
            item.id = product.into();
        }
        let known = order.payload.restaurant.id.to_string();
        let wanted = |order: &Order<'_>| match enrich(order, &reference).expect_err("unknown").class {
            Class::Parked { waits_for } => waits_for,
            class => panic!("{class:?}"),
        };
        let mut all = vec![format!("user/{user}")];
        all.extend(vec![format!("product/{known}/{product}"); dishes]);
        assert_eq!(wanted(&order), all);
        order.payload.restaurant.id = restaurant.into();
        assert_eq!(wanted(&order), [format!("user/{user}"), format!("restaurant/{restaurant}")]);
    }
}
