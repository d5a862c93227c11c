//! Amounts of money, exact to five decimals as the warehouse stores them.

use std::fmt;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Reject;

/// Decimals that `numeric(19, 5)` keeps.
const SCALE: u32 = 5;

/// An amount in the shop's currency, at most `numeric(19, 5)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Money(Decimal);

impl Money {
    /// The amount as a decimal, rounded to five places.
    pub fn decimal(self) -> Decimal {
        self.0
    }

    /// The amount that a calculation gave, rounded to five places; none where it is too large to be kept.
    pub fn from_decimal(value: Decimal) -> Option<Self> {
        // numeric(19, 5) leaves fourteen digits before the point.
        let rounded = value.round_dp(SCALE);
        (rounded.abs() < Decimal::from(100_000_000_000_000_i64)).then(|| Self(rounded.normalize()))
    }

    /// Refuses amounts below zero.
    pub(crate) fn check_not_negative(self, field: &str) -> Result<(), Reject> {
        if self.0.is_sign_negative() && !self.0.is_zero() {
            return Err(Reject::new("negative_amount", format!("{field} is below zero: {}", self.0)));
        }
        Ok(())
    }

    fn checked<E: de::Error>(value: Decimal) -> Result<Self, E> {
        Self::from_decimal(value)
            .ok_or_else(|| E::custom(format!("amount {value} has more than 14 digits before the point")))
    }
}

impl From<i64> for Money {
    fn from(value: i64) -> Self {
        Self(Decimal::from(value))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.scale() == 0
            && let Some(whole) = self.0.to_i64()
        {
            return serializer.serialize_i64(whole);
        }
        serializer.serialize_f64(self.0.to_f64().unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Amount;
        impl Visitor<'_> for Amount {
            type Value = Money;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of money as a number")
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Money, E> {
                Money::checked(Decimal::from(v))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Money, E> {
                Money::checked(Decimal::from(v))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Money, E> {
                // Through the shortest text, so that 0.1 stays 0.1.
                let text = format!("{v}");
                text.parse()
                    .map_err(|_| E::custom(format!("amount {v} is out of range")))
                    .and_then(Money::checked)
            }
        }
        deserializer.deserialize_any(Amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_their_decimals() {
        for (text, stored) in [("4050", "4050"), ("0.1", "0.1"), ("12.345678", "12.34568"), ("1e3", "1000")] {
            let money: Money = serde_json::from_str(text).unwrap();
            assert_eq!(money.to_string(), stored);
            assert_eq!(
                serde_json::from_str::<Money>(&serde_json::to_string(&money).unwrap()).unwrap(),
                money
            );
        }
    }

    #[test]
    fn amounts_that_the_warehouse_cannot_hold_are_refused() {
        for text in ["100000000000000", "1e300", "\"12\"", "null", "true"] {
            assert!(serde_json::from_str::<Money>(text).is_err(), "{text} was accepted");
        }
    }
}
