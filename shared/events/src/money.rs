//! Amounts of money, exact to five decimals as the warehouse stores them.
//!
//! They are read from the text of the JSON number and written as text again, never by way of floating point, which
//! keeps no more than 15 digits. Amounts with more than five decimals are rounded half to even; numbers that need more
//! than 28 digits are refused.

use std::fmt;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

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
        if rounded.is_zero() {
            // There is one zero: it has no sign.
            return Some(Self::default());
        }
        (rounded.abs() < Decimal::from(100_000_000_000_000_i64)).then(|| Self(rounded.normalize()))
    }

    /// Refuses amounts below zero.
    ///
    /// **Errors**: `negative_amount`.
    pub fn check_not_negative(self, field: &str) -> Result<(), Reject> {
        if self.0.is_sign_negative() {
            return Err(Reject::new("negative_amount", format!("{field} is below zero: {}", self.0)));
        }
        Ok(())
    }

    /// Reads the text of a JSON number.
    fn parse(number: &str) -> Result<Self, String> {
        let exponent = number.find(['e', 'E']);
        let value = Decimal::from_str_exact(&number[..exponent.unwrap_or(number.len())]);
        // With an exponent the digits were only looked at: they are not too many.
        let value = value.and_then(|value| exponent.map_or(Ok(value), |_| Decimal::from_scientific(number)));
        let shown = || number.chars().take(60).collect::<String>();
        let value = value.map_err(|_| format!("amount {} needs more than 28 digits", shown()))?;
        Self::from_decimal(value)
            .ok_or_else(|| format!("amount {} has more than 14 digits before the point", shown()))
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
        let text = self.0.array_string();
        let number: &RawValue = serde_json::from_str(text.as_ref()).map_err(S::Error::custom)?;
        number.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = <&RawValue>::deserialize(deserializer)?.get();
        if !number.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return Err(D::Error::custom("expected an amount of money as a number"));
        }
        Self::parse(number).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_their_decimals() {
        for (text, stored) in [
            ("4050", "4050"),
            ("0.1", "0.1"),
            ("0.10", "0.1"),
            ("-0.0", "0"),
            ("-0.000001", "0"),
            ("-12.5", "-12.5"),
            ("12.345678", "12.34568"),
            // Half to even.
            ("0.000005", "0"),
            ("0.000015", "0.00002"),
            ("0.0000050000000000000000000001", "0.00001"),
            ("12345678901.12345", "12345678901.12345"),
            ("98765432109876.54321", "98765432109876.54321"),
            ("99999999999999.99999", "99999999999999.99999"),
            ("1e3", "1000"),
            ("1.2345E+13", "12345000000000"),
            ("12345678e-5", "123.45678"),
        ] {
            let money: Money = serde_json::from_str(text).unwrap();
            assert_eq!(money.to_string(), stored);
            assert_eq!(serde_json::to_string(&money).unwrap(), stored);
        }
    }

    #[test]
    fn amounts_that_the_warehouse_cannot_hold_are_refused() {
        for text in [
            "100000000000000",
            "99999999999999.999999",
            "1e300",
            "1e-300",
            "1e99999999999",
            "0.00000000000000000000000000001",
            "\"12\"",
            "null",
            "true",
            "[1]",
        ] {
            let error = serde_json::from_str::<Money>(text).expect_err(text);
            assert!(error.is_data(), "{text}: {error}");
        }
        assert!(serde_json::from_str::<Money>("12x").expect_err("no JSON").is_syntax());
    }
}
