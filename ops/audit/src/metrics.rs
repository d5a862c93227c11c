//! The metrics in Redis against the fold over the vault's events, users aside.

use std::collections::{HashMap, HashSet};

use strata_streams::Metrics;
use strata_vault::hub_key;
use strata_vault::model::{self, Satellite};
use uuid::Uuid;

use super::copy::Row;
use super::keys::{pair, unpair};
use super::redis::{Counts, RedisMetrics};
use super::report::Check;
use super::tables::{ATTRIBUTES, Hub, Hubs};

/// Events of the vault that the metrics do not count yet, by key: true where the touched values do.
pub type Withheld = HashMap<Uuid, bool>;

/// What the metrics should be.
pub struct Fold {
    metrics: &'static Metrics,
    withheld: Withheld,
    /// What was read later than the rest, by frequency: keys of rows.
    touched: Vec<HashSet<Uuid>>,
    /// Whether the event that is looked at is withheld.
    current: Option<bool>,
    /// Events by the number of the row that they name, by frequency.
    counts: Vec<Vec<u32>>,
    /// Owner and other, as [`pair`] → lowest value.
    lowest: HashMap<u64, i64>,
    /// Events that the metrics of a user do not count, by the user's key.
    pub uncounted: HashMap<Uuid, i64>,
}

impl Fold {
    /// Nothing was counted; `touched` are the names that were read later.
    pub fn new(metrics: &'static Metrics, withheld: Withheld, touched: &[HashSet<String>]) -> Self {
        let touched = touched.iter().map(|names| names.iter().map(|name| hub_key(name)).collect());
        Self {
            metrics,
            withheld,
            touched: touched.collect(),
            current: None,
            counts: vec![Vec::new(); metrics.frequencies.len()],
            lowest: HashMap::new(),
            uncounted: HashMap::new(),
        }
    }

    /// Goes to the next event.
    pub fn begin(&mut self, key: Uuid) {
        self.current = self.withheld.get(&key).copied();
    }

    fn counts(&self, frequency: usize, key: Uuid) -> bool {
        counts(self.current, self.touched.get(frequency).is_some_and(|touched| touched.contains(&key)))
    }

    /// Counts an event for a row that it names. Rows without a number come later, all together.
    pub fn count(&mut self, hub: &model::Hub, key: Uuid, number: Option<u32>) {
        let frequencies = self.metrics.frequencies;
        let Some(at) = frequencies.iter().position(|known| known.hub.table == hub.table) else { return };
        let is_counted = self.counts(at, key);
        match number {
            Some(number) => {
                let (number, counts) = (number as usize, &mut self.counts[at]);
                counts.resize(counts.len().max(number + 1), 0);
                counts[number] += u32::from(is_counted);
            }
            None if !is_counted => *self.uncounted.entry(key).or_default() += 1,
            None => {}
        }
    }

    /// Takes the value that a row of an event's satellite has; `joined` hubs have these keys.
    pub fn lowest(
        &mut self,
        satellite: &Satellite,
        row: &Row<'_>,
        hubs: &Hubs,
        joined: &[&model::Hub],
        keys: &[Uuid],
    ) -> anyhow::Result<()> {
        let law = &self.metrics.lowest;
        if law.satellite.table != satellite.table {
            return Ok(());
        }
        let text = |name| {
            let at = satellite.attributes.iter().position(|attribute| attribute.name == name);
            at.map_or(Ok(None), |at| row.optional_text(ATTRIBUTES + at))
        };
        let value = text(law.value)?.map(str::parse::<i64>).transpose()?;
        let other = text(law.named)?.and_then(|name| hubs.get(law.others.hub)?.find(hub_key(name)));
        let owner = joined.iter().zip(keys).find(|(hub, _)| hub.table == law.owners.hub.table);
        let Some((_, key)) = owner else { return Ok(()) };
        let frequency = self.metrics.frequencies.iter().position(|known| known.name == law.owners.name);
        let owner = hubs.get(law.owners.hub).and_then(|hub| hub.find(*key));
        if let (Some(value), Some(other), Some(owner)) = (value, other, owner)
            && frequency.is_some_and(|frequency| self.counts(frequency, *key))
        {
            let lowest = self.lowest.entry(pair(owner, other)).or_insert(value);
            *lowest = value.min(*lowest);
        }
        Ok(())
    }

    /// Checks every value of a hub that was held in memory.
    pub fn check(&self, found: &RedisMetrics, hubs: &Hubs, many: &str) -> Vec<Check> {
        let frequencies = self.metrics.frequencies.iter().zip(&found.counts).zip(&self.counts);
        let small = frequencies.filter_map(|((frequency, found), fold)| {
            Some(compare(frequency.name, many, found, hubs.get(frequency.hub)?, fold))
        });
        small.chain([self.compare_lowest(found, hubs)]).collect()
    }

    fn compare_lowest(&self, found: &RedisMetrics, hubs: &Hubs) -> Check {
        let law = &self.metrics.lowest;
        let what = law.name;
        let mut check = Check::new(format!("dds → Redis: lowest {what} are the fold"));
        let mut expected = self.lowest.clone();
        let [owners, others] = [law.owners, law.others].map(|frequency| hubs.get(frequency.hub));
        let find = |hub: Option<&Hub>, name: &str| hub?.find(hub_key(name));
        for (owner, values) in &found.lowest {
            let number = find(owners, owner);
            for (other, value) in values {
                check.compared += 1;
                let place = number.zip(find(others, other));
                let in_vault = place.and_then(|(owner, other)| expected.remove(&pair(owner, other)));
                if in_vault != Some(*value) {
                    check.differs(|| {
                        format!("metrics {what}: {owner}, {other}: {value}, {in_vault:?} in the vault")
                    });
                }
            }
        }
        for (place, value) in expected {
            check.differs(|| {
                let (owner, other) = unpair(place);
                let name = |hub: Option<&Hub>, number| {
                    hub.map_or_else(String::new, |hub| hub.name(number).to_owned())
                };
                let (owner, other) = (name(owners, owner), name(others, other));
                format!("metrics {what}: {owner}, {other}: not there, {value} in the vault")
            });
        }
        check
    }
}

/// A check of a frequency.
pub fn check_of(what: &str) -> Check {
    Check::new(format!("dds → Redis: {what} are the fold"))
}

fn compare(what: &str, many: &str, found: &Counts, hub: &Hub, fold: &[u32]) -> Check {
    let mut check = check_of(what);
    check.compared = found.len() as i64;
    let mut expected: HashMap<&str, u32> =
        hub.names.iter().zip(fold).filter(|(_, n)| **n > 0).map(|(name, n)| (&**name, *n)).collect();
    for (member, times) in found {
        let in_vault = expected.remove(member.as_str()).unwrap_or_default();
        if f64::from(in_vault) != *times {
            check.differs(|| format!("metrics {what}: {member}: {times} {many}, {in_vault} in the vault"));
        }
    }
    for (member, in_vault) in expected {
        check.differs(|| format!("metrics {what}: {member}: not there, {in_vault} {many} in the vault"));
    }
    check
}

/// True where the metrics count an event for a member.
fn counts(withheld: Option<bool>, touched: bool) -> bool {
    match withheld {
        None => true,
        Some(applied) => applied && touched,
    }
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn an_event_counts_for_those_that_were_read_after_it() {
        assert!(counts(None, false) && counts(None, true) && counts(Some(true), true));
        assert!(!counts(Some(true), false) && !counts(Some(false), true) && !counts(Some(false), false));
    }
}
