//! The reference data as they are now.

use std::collections::BTreeSet;
use std::sync::Arc;

use strata_events::{Reference as Wanted, Restaurant, User};
use strata_service::redis::{Connection, ReferenceKeys, look_up};
use strata_service::{Settings, redis};
use strata_streams::reference::{Menu, ReferenceData};

/// Reads from Redis what events want.
pub struct Reference {
    redis: Connection,
    keys: ReferenceKeys,
    /// Users of the events that were asked for last, and every restaurant so far: those come again and again.
    pub data: ReferenceData,
}

impl Reference {
    /// Knows nothing yet.
    pub fn new(settings: &Settings) -> Self {
        let keys = ReferenceKeys { prefix: settings.redis_prefix.clone() };
        Self { redis: redis::connect(&settings.redis), keys, data: ReferenceData::default() }
    }

    /// Reads what is wanted; the dishes come with their restaurants.
    pub async fn read(&mut self, wanted: BTreeSet<Wanted>) -> anyhow::Result<()> {
        let Self { redis, keys, data } = self;
        let (mut users, mut restaurants) = (Vec::new(), Vec::new());
        for wanted in &wanted {
            match wanted {
                Wanted::User(id) => users.push(id.as_str()),
                Wanted::Restaurant(id) | Wanted::Product { restaurant: id, .. } => {
                    restaurants.push(id.as_str());
                }
            }
        }
        if !users.is_empty() {
            let found: Vec<(&str, User)> = look_up(redis, &users, |id| keys.user(id)).await?;
            data.users = found.into_iter().map(|(id, user)| (id.to_owned(), Arc::new(user))).collect();
        }
        restaurants.retain(|id| !data.restaurants.contains_key(*id));
        if !restaurants.is_empty() {
            let found: Vec<(&str, Restaurant)> =
                look_up(redis, &restaurants, |id| keys.restaurant(id)).await?;
            let menus = found.into_iter().map(|(id, found)| (id.to_owned(), Arc::new(Menu::from(found))));
            data.restaurants.extend(menus);
        }
        Ok(())
    }
}
