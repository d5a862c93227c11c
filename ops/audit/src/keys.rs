//! Keys of small hubs as numbers, and what belongs to each of them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use uuid::Uuid;

/// Hashes vault keys, which are hashes already.
#[derive(Default)]
struct KeyBits(u64);

impl Hasher for KeyBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for (index, byte) in bytes.iter().take(8).enumerate() {
            self.0 ^= u64::from(*byte) << (8 * index);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}

/// Keys, numbered in the order of their arrival.
#[derive(Default)]
pub struct Keys(HashMap<Uuid, u32, BuildHasherDefault<KeyBits>>);

impl Keys {
    /// The number of a key, a new one where it is not known.
    pub fn insert(&mut self, key: Uuid) -> u32 {
        // Hubs of so many rows are not held in memory.
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(key).or_insert(next)
    }

    /// The number of a known key.
    pub fn find(&self, key: &Uuid) -> Option<u32> {
        self.0.get(key).copied()
    }
}

/// Marks by number.
#[derive(Default)]
pub struct Marks(Vec<bool>);

impl Marks {
    /// Sets a mark.
    pub fn set(&mut self, number: u32) {
        let number = number as usize;
        if self.0.len() <= number {
            self.0.resize(number + 1, false);
        }
        self.0[number] = true;
    }

    /// True where the mark is set.
    pub fn has(&self, number: u32) -> bool {
        self.0.get(number as usize).is_some_and(|mark| *mark)
    }
}

/// Two numbers as one, for pairs that are counted.
pub fn pair(first: u32, second: u32) -> u64 {
    u64::from(first) << 32 | u64::from(second)
}

/// The numbers of a [`pair`].
pub fn unpair(pair: u64) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_once() {
        let mut keys = Keys::default();
        let many: Vec<Uuid> = (0..1000_u32).map(|n| strata_vault::hub_key(&n.to_string())).collect();
        for _ in 0..2 {
            let numbers: Vec<u32> = many.iter().map(|key| keys.insert(*key)).collect();
            assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
        }
        assert_eq!((keys.find(&many[7]), keys.find(&Uuid::nil())), (Some(7), None));
    }

    #[test]
    fn marks_and_pairs_keep_their_numbers() {
        let mut marks = Marks::default();
        marks.set(3);
        assert!(!marks.has(2) && marks.has(3) && !marks.has(9));
        assert_eq!(unpair(pair(7, u32::MAX)), (7, u32::MAX));
    }
}
