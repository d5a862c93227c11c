//! The metrics in Redis against the fold over the vault's searches, users aside.

use std::collections::HashMap;

use strata_vault::hub_key;

use super::super::keys::{pair, unpair};
use super::super::metrics::{Counts, RedisMetrics};
use super::super::report::Check;
use super::super::vault::Hub;
use super::vault::SearchVault;

/// Checks every hotel, advertiser and price.
pub fn check(metrics: &RedisMetrics, vault: &SearchVault<'_>) -> [Check; 3] {
    let fold = &vault.fold;
    [
        compare("hotels", &metrics.hotels, &vault.hotels, &fold.hotels),
        compare("advertisers", &metrics.advertisers, &vault.advertisers, &fold.advertisers),
        compare_prices(metrics, vault),
    ]
}

fn compare(what: &str, counted: &Counts, hub: &Hub, fold: &[u32]) -> Check {
    let mut check = Check::new(format!("dds → Redis: {what} are the fold"));
    check.compared = counted.len() as i64;
    let mut expected: HashMap<&str, u32> =
        hub.names.iter().zip(fold).filter(|(_, n)| **n > 0).map(|(name, n)| (&**name, *n)).collect();
    for (member, times) in counted {
        let in_vault = expected.remove(member.as_str()).unwrap_or_default();
        if f64::from(in_vault) != *times {
            check.differs(|| format!("metrics {what}: {member}: {times} searches, {in_vault} in the vault"));
        }
    }
    for (member, in_vault) in expected {
        check.differs(|| format!("metrics {what}: {member}: not there, {in_vault} searches in the vault"));
    }
    check
}

fn compare_prices(metrics: &RedisMetrics, vault: &SearchVault<'_>) -> Check {
    let mut check = Check::new("dds → Redis: lowest prices are the fold");
    let mut expected = vault.fold.prices.clone();
    let key = |hub: &Hub, name: &str| hub.find(hub_key(name));
    for (hotel, prices) in &metrics.prices {
        let hotel_number = key(&vault.hotels, hotel);
        for (advertiser, price) in prices {
            check.compared += 1;
            let place = hotel_number.zip(key(&vault.advertisers, advertiser));
            let in_vault = place.and_then(|(hotel, advertiser)| expected.remove(&pair(hotel, advertiser)));
            if in_vault != Some(*price) {
                check.differs(|| {
                    format!("metrics prices: {hotel}, {advertiser}: {price}, {in_vault:?} in the vault")
                });
            }
        }
    }
    for (place, price) in expected {
        check.differs(|| {
            let (hotel, advertiser) = unpair(place);
            let (hotel, advertiser) = (vault.hotels.name(hotel), vault.advertisers.name(advertiser));
            format!("metrics prices: {hotel}, {advertiser}: not there, {price} in the vault")
        });
    }
    check
}
