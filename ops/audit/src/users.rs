//! What belongs to users, user by user: orders and searches share their hub, and counters and metrics are theirs.

use strata_streams::hotel_search::vault::HOTEL_SEARCH;
use strata_streams::order::vault::{ORDER_CATEGORY, ORDER_PRODUCT, ORDER_USER, USER_NAMES};
use strata_streams::vault::USER;
use strata_vault::model::{Link, SCHEMA};
use uuid::Uuid;

use super::metrics::Member;
use super::ordered::{Ordered, Sorter, Source, least};
use super::orders::counters::{Mart, Waiting};
use super::report::Check;
use super::snapshot::Snapshot;
use super::vault::{hub_in_order, satellite_in_order};
use super::{Progress, orders, searches, share};

/// What was found of users.
pub struct Found {
    /// Counters by product and by category, and their names.
    pub counters: [Check; 3],
    /// Searches of users in Redis.
    pub metrics: Check,
    /// Users that nothing belongs to.
    pub idle: Check,
}

/// The tables of users but those of the counters.
struct Tables {
    hub: Ordered,
    names: Ordered,
    ordering: Ordered,
    searching: Ordered,
    members: Ordered,
}

/// Compares everything that is kept by user; adds to what was found of the tables of both streams.
pub fn check(
    snapshot: &Snapshot<'_>,
    orders: &mut orders::Found,
    searches: &mut searches::Found,
    waiting: &Waiting,
    members: Sorter,
    progress: Progress<'_>,
) -> anyhow::Result<Found> {
    let (source, menus) = (&snapshot.source, &orders.menus);
    let mut tables = Tables {
        hub: hub_in_order(source, &USER),
        names: satellite_in_order(source, &USER_NAMES),
        ordering: by_user(source, &ORDER_USER),
        searching: by_user(source, &HOTEL_SEARCH),
        members: members.sorted()?,
    };
    let (products, categories) = (menus.products()?, menus.categories()?);
    let mut by_product = Mart::open(source, "product", products, &ORDER_PRODUCT, &waiting.counted.products);
    let mut by_category =
        Mart::open(source, "category", categories, &ORDER_CATEGORY, &waiting.counted.categories);
    let mut names = Check::new("dds → cdm: names of counters are in the vault");
    let mut metrics = Check::new("dds → Redis: users are the fold");
    let mut idle = Check::new("dds: users have orders or searches");
    let mut told = None;
    while let Some(user) =
        least(tables.all().into_iter().chain(by_product.tables()).chain(by_category.tables()))?
    {
        if told.replace(share(user)) != Some(share(user)) {
            progress(&format!("users: {} % compared", share(user)));
        }
        let (name, searched) = tables.vault(user, &mut orders.tables, &mut searches.tables, &mut idle)?;
        let counted = searched - searches.uncounted.get(&user).copied().unwrap_or_default();
        compare_member(&mut metrics, &mut tables.members, (user, name.as_deref()), counted)?;
        by_product.compare(user, name.as_deref(), |product, name| {
            names.compared += 1;
            if !menus.was_called(product, name) {
                let product = products.name(product);
                names.differs(|| format!("user_product_counters: {product} was never called {name}"));
            }
        })?;
        by_category.compare(user, name.as_deref(), |category, name| {
            names.compared += 1;
            let known = categories.name(category);
            if known != name {
                names.differs(|| format!("user_category_counters: {known} is called {name}"));
            }
        })?;
    }
    Ok(Found { counters: [by_product.check, by_category.check, names], metrics, idle })
}

/// How many rows of a link name each user.
fn by_user(source: &Source, link: &Link) -> Ordered {
    let (user, table) = (USER.key, link.table);
    source.ordered(format!("select {user}, count(*) from {SCHEMA}.{table} group by {user} order by {user}"))
}

impl Tables {
    fn all(&mut self) -> [&mut Ordered; 5] {
        let Self { hub, names, ordering, searching, members } = self;
        [hub, names, ordering, searching, members]
    }

    /// Checks the rows of a user; gives their business key, and how many searches are theirs.
    fn vault(
        &mut self,
        user: Uuid,
        orders: &mut super::vault::VaultChecks,
        searches: &mut super::vault::VaultChecks,
        idle: &mut Check,
    ) -> anyhow::Result<(Option<String>, i64)> {
        let (mut name, mut rows, mut named) = (None, [0, 0], false);
        self.hub.rows(user, |row| {
            name = Some(row.text(1)?.to_owned());
            orders.hub(&USER, user, row.text(1)?);
            searches.hub(&USER, user, row.text(1)?);
            Ok(())
        })?;
        let is_there = name.is_some();
        let links = [
            (&mut self.ordering, &ORDER_USER, &mut *orders),
            (&mut self.searching, &HOTEL_SEARCH, &mut *searches),
        ];
        for ((table, link, checks), rows) in links.into_iter().zip(&mut rows) {
            table.rows(user, |row| {
                *rows = row.bigint(1)?;
                checks.parent(is_there, USER.table, link.table, user, *rows);
                Ok(())
            })?;
        }
        self.names.rows(user, |row| {
            named = true;
            orders.version(&USER_NAMES, row)?;
            orders.parent(is_there, USER.table, USER_NAMES.table, user, 1);
            Ok(())
        })?;
        if let Some(name) = &name {
            let [ordered, searched] = rows.map(|rows| rows > 0);
            let hub = USER.table;
            // Users of searches have neither names nor orders, those of orders both.
            orders.childless.compared += 1;
            if ordered != named {
                let missing = if ordered { USER_NAMES.table } else { ORDER_USER.table };
                orders.childless.differs(|| format!("{hub}: {name:?} has no row in {missing}"));
            }
            idle.compared += 1;
            if !ordered && !searched {
                idle.differs(|| format!("{hub}: {name:?} has no row in any link"));
            }
        }
        Ok((name, rows[1]))
    }
}

/// Compares a user of the metrics with the searches that they should count.
fn compare_member(
    check: &mut Check,
    members: &mut Ordered,
    (user, name): (Uuid, Option<&str>),
    in_vault: i64,
) -> anyhow::Result<()> {
    let mut member: Option<Member> = None;
    members.rows(user, |row| {
        member = Some(row.json::<Member>()?.or(member.take()));
        Ok(())
    })?;
    match member.as_ref().and_then(|member| Some((&member.name, member.times()?))) {
        Some((member, times)) => {
            check.compared += 1;
            if in_vault as f64 != times {
                check.differs(|| {
                    format!("metrics users: {member}: {times} searches, {in_vault} in the vault")
                });
            }
        }
        None if in_vault > 0 => check.differs(|| {
            let member = name.map_or_else(|| user.to_string(), str::to_owned);
            format!("metrics users: {member}: not there, {in_vault} searches in the vault")
        }),
        None => {}
    }
    Ok(())
}
