//! From an order as the shop sends it to one with the names that the vault keeps. Pure.

use strata_events::order::OBJECT_TYPE;
use strata_events::{FactMessage, FactPayload, FactProduct, NamedRef, Order, OrderItem, Reject, UserRef};

use crate::reference::{Menu, ReferenceData};

/// Looks names and categories up; the price is the order's, else the menu's.
///
/// **Errors**: `unknown_user`, `unknown_restaurant`, `unknown_product`.
pub fn enrich<'a>(order: &'a Order<'_>, reference: &'a ReferenceData) -> Result<FactMessage<'a>, Reject> {
    let payload = &order.payload;
    let user = reference.users.get(&*payload.user.id).ok_or_else(|| {
        Reject::new("unknown_user", format!("user {} is not in the reference data", payload.user.id))
    })?;
    let restaurant_id = &payload.restaurant.id;
    let menu = reference.restaurants.get(&**restaurant_id).ok_or_else(|| {
        Reject::new("unknown_restaurant", format!("restaurant {restaurant_id} is not in the reference data"))
    })?;
    let products: Result<Vec<FactProduct<'a>>, Reject> =
        payload.order_items.iter().map(|item| enrich_item(item, menu, restaurant_id)).collect();
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
            restaurant: NamedRef { id: (&**restaurant_id).into(), name: menu.name.as_str().into() },
            user: UserRef {
                id: user.id.as_str().into(),
                name: user.name.as_str().into(),
                login: user.login.as_str().into(),
            },
            products: products?,
        },
    })
}

fn enrich_item<'a>(
    item: &'a OrderItem<'_>,
    menu: &'a Menu,
    restaurant_id: &str,
) -> Result<FactProduct<'a>, Reject> {
    let dish = menu.dishes.get(&*item.id).ok_or_else(|| {
        let detail = format!("product {} is not on the menu of restaurant {restaurant_id}", item.id);
        Reject::new("unknown_product", detail)
    })?;
    Ok(FactProduct {
        id: (&*item.id).into(),
        price: item.price.unwrap_or(dish.price),
        quantity: item.quantity,
        name: dish.name.as_str().into(),
        category: dish.category.as_str().into(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;
    use strata_events::{Contract, Restaurant, User};

    use super::*;

    const ORDER: &[u8] = include_bytes!("../../../../shared/events/examples/stg_topic.json");
    const FACT: &[u8] = include_bytes!("../../../../shared/events/examples/dds_topic.json");
    const USER: &[u8] = include_bytes!("../../../../shared/events/examples/reference_user.json");
    const RESTAURANT: &[u8] = include_bytes!("../../../../shared/events/examples/reference_restaurant.json");

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
}
