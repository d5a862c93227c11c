//! What orders are about: products, categories, restaurants, and how they belong together. Grows with the menus, not
//! with the orders, so it is held in memory.

use std::collections::HashSet;

use strata_streams::order::vault::{CATEGORY, MODEL, ORDER, PRODUCT, PRODUCT_CATEGORY, PRODUCT_NAMES};
use strata_streams::vault::USER;
use strata_vault::model::{self, Parent};

use super::super::keys::pair;
use super::super::ordered::Source;
use super::super::vault::{ATTRIBUTES, Hub, Hubs, VaultChecks};

/// The tables around the products.
pub struct Menus {
    hubs: Hubs,
    /// Product and category, as [`pair`].
    pairs: HashSet<u64>,
    /// Names that a product had, by number.
    names: Vec<Vec<Box<str>>>,
}

/// True of hubs that do not grow with the orders.
pub fn is_small(hub: &model::Hub) -> bool {
    ![ORDER.table, USER.table].contains(&hub.table)
}

impl Menus {
    /// Reads and checks them.
    pub fn read(source: &Source, checks: &mut VaultChecks) -> anyhow::Result<Self> {
        let small: Vec<&model::Hub> = MODEL.hubs.iter().copied().filter(|hub| is_small(hub)).collect();
        let hubs = Hubs::read(source, checks, &small)?;
        let mut pairs = HashSet::new();
        for link in MODEL.links.iter().filter(|link| link.hubs.iter().all(|hub| is_small(hub))) {
            hubs.read_link(source, checks, link, |first, second| {
                if link.table == PRODUCT_CATEGORY.table {
                    pairs.insert(pair(first, second));
                }
            })?;
        }
        let mut names = vec![Vec::new(); hubs.of(&PRODUCT)?.names.len()];
        for satellite in MODEL.satellites {
            let is_read = matches!(satellite.parent, Parent::Hub(hub) if is_small(hub));
            if !is_read {
                continue;
            }
            hubs.read_satellite(source, checks, satellite, |number, row| {
                if satellite.table == PRODUCT_NAMES.table
                    && let Some(names) = names.get_mut(number as usize)
                {
                    names.push(row.text(ATTRIBUTES)?.into());
                }
                Ok(())
            })?;
        }
        Ok(Self { hubs, pairs, names })
    }

    /// One of the hubs.
    pub fn hub(&self, model: &model::Hub) -> anyhow::Result<&Hub> {
        self.hubs.of(model)
    }

    /// Products.
    pub fn products(&self) -> anyhow::Result<&Hub> {
        self.hub(&PRODUCT)
    }

    /// Categories.
    pub fn categories(&self) -> anyhow::Result<&Hub> {
        self.hub(&CATEGORY)
    }

    /// True where a product was in a category once.
    pub fn are_linked(&self, product: u32, category: u32) -> bool {
        self.pairs.contains(&pair(product, category))
    }

    /// True where a product had a name once.
    pub fn was_called(&self, product: u32, name: &str) -> bool {
        self.names.get(product as usize).is_some_and(|names| names.iter().any(|known| **known == *name))
    }
}
