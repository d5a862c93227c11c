//! The counters against the fold over the vault, to the row, on a system that does not stand still: what is announced and
//! not applied, added to the counters, must give the fold.

use std::collections::BTreeMap;

use strata_streams::Counters;
use strata_streams::mart::Increments;
use strata_streams::vault::USER;
use uuid::Uuid;

use super::ordered::{Ordered, Source};
use super::report::Check;
use super::subjects::Named;

/// One table of counters beside the fold, in the order of the users.
pub struct Mart<'a> {
    law: &'static Counters,
    named: &'a Named,
    unapplied: &'a Increments,
    counters: Ordered,
    fold: Ordered,
    /// What was found.
    pub check: Check,
}

impl<'a> Mart<'a> {
    /// Opens the table.
    pub fn open(
        source: &Source,
        law: &'static Counters,
        named: &'a Named,
        unapplied: &'a Increments,
    ) -> Self {
        let Counters { table, by, link, .. } = law;
        let counters = format!("select user_id, {by}_id, {by}_name, order_cnt from {table} order by user_id");
        let fold = format!("{} order by {}", (law.law)(link), USER.key);
        let check = Check::new(format!("dds → cdm: counters by {by} are the fold"));
        Self { law, named, unapplied, counters: source.ordered(counters), fold: source.ordered(fold), check }
    }

    /// The tables, to look for the next user.
    pub fn tables(&mut self) -> [&mut Ordered; 2] {
        [&mut self.counters, &mut self.fold]
    }

    /// Compares the counters of a user with the fold, and their names with those that the vault knows.
    pub fn compare(&mut self, user: Uuid, user_name: Option<&str>, names: &mut Check) -> anyhow::Result<()> {
        let Self { law, named, unapplied, counters, fold, check } = self;
        let (hub, by) = (named.hubs.of(law.counted())?, law.by);
        let table = law.table.rsplit('.').next().unwrap_or(law.table);
        let mut expected: BTreeMap<Uuid, i64> = BTreeMap::new();
        fold.rows(user, |row| {
            expected.insert(row.uuid(1)?, row.bigint(2)?);
            Ok(())
        })?;
        for ((_, counted), (_, times)) in unapplied.range((user, Uuid::nil())..=(user, Uuid::max())) {
            // What the vault does not have cannot have been announced by dds.
            if user_name.is_some() && hub.find(*counted).is_some() {
                *expected.entry(*counted).or_default() -= times;
            }
        }
        let place = |counted: Uuid| match (user_name, hub.find(counted)) {
            (Some(user), Some(number)) => format!("user {user}, {by} {}", hub.name(number)),
            _ => format!("user {user}, {by} {counted}"),
        };
        counters.rows(user, |row| {
            let (counted, name, count) = (row.uuid(1)?, row.text(2)?, row.bigint(3)?);
            check.compared += 1;
            let in_vault = expected.remove(&counted).unwrap_or_default();
            if in_vault != count {
                check.differs(|| {
                    format!("{table}: {}: {count} orders, {in_vault} in the vault", place(counted))
                });
            }
            if let Some(number) = hub.find(counted) {
                names.compared += 1;
                if !named.was_called(hub.model, number, law.names, name) {
                    names.differs(|| format!("{table}: {} was never called {name}", hub.name(number)));
                }
            }
            Ok(())
        })?;
        for (counted, count) in expected.into_iter().filter(|(_, count)| *count != 0) {
            check.differs(|| format!("{table}: {}: no row, {count} orders in the vault", place(counted)));
        }
        Ok(())
    }
}
