//! Reference data that the enrichment of orders needs: users, and restaurants with their menus.

use std::collections::HashMap;
use std::sync::Arc;

use strata_events::{MenuItem, Reference, Restaurant, User};

/// A restaurant with its menu by product id.
#[derive(Debug)]
pub struct Menu {
    /// Name of the restaurant.
    pub name: String,
    /// Dishes by id.
    pub dishes: HashMap<String, MenuItem>,
}

impl From<Restaurant> for Menu {
    fn from(restaurant: Restaurant) -> Self {
        let dishes = restaurant.menu.into_iter().map(|dish| (dish.id.clone(), dish)).collect();
        Self { name: restaurant.name, dishes }
    }
}

/// The reference data that one batch needs; what is absent does not exist.
#[derive(Debug, Default)]
pub struct ReferenceData {
    /// Users by id.
    pub users: HashMap<String, Arc<User>>,
    /// Restaurants by id.
    pub restaurants: HashMap<String, Arc<Menu>>,
}

impl ReferenceData {
    /// True when enrichment finds it.
    pub fn holds(&self, reference: &Reference) -> bool {
        match reference {
            Reference::User(id) => self.users.contains_key(id),
            Reference::Restaurant(id) => self.restaurants.contains_key(id),
            Reference::Product { restaurant, product } => {
                self.restaurants.get(restaurant).is_some_and(|menu| menu.dishes.contains_key(product))
            }
        }
    }
}
