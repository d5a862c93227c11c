//! Millions of keys as small numbers, and what belongs to each of them.

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
        // Four thousand million rows of one table do not fit the memory either.
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(key).or_insert(next)
    }

    /// The number of a known key.
    pub fn find(&self, key: &Uuid) -> Option<u32> {
        self.0.get(key).copied()
    }
}

/// Values by the number of their parent, as they arrive.
pub struct Pairs<T> {
    parents: Vec<u32>,
    values: Vec<T>,
}

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self { parents: Vec::new(), values: Vec::new() }
    }
}

impl<T: Clone + Default> Pairs<T> {
    /// Adds a value.
    pub fn push(&mut self, parent: u32, value: T) {
        self.parents.push(parent);
        self.values.push(value);
    }

    /// Puts the values of each of so many parents side by side.
    pub fn into_lists(self, parents: usize) -> Lists<T> {
        let mut starts = vec![0_u32; parents + 1];
        for parent in &self.parents {
            starts[*parent as usize + 1] += 1;
        }
        for at in 0..parents {
            starts[at + 1] += starts[at];
        }
        let mut next = starts.clone();
        let mut values = vec![T::default(); self.values.len()];
        for (parent, value) in self.parents.into_iter().zip(self.values) {
            let at = &mut next[parent as usize];
            values[*at as usize] = value;
            *at += 1;
        }
        Lists { starts, values }
    }
}

/// The values of each parent.
pub struct Lists<T> {
    starts: Vec<u32>,
    values: Vec<T>,
}

impl<T> Lists<T> {
    /// The values of one parent; none for a parent that came later.
    pub fn of(&self, parent: u32) -> &[T] {
        let bound = |at: usize| self.starts.get(at).map(|start| *start as usize);
        match (bound(parent as usize), bound(parent as usize + 1)) {
            (Some(from), Some(to)) => &self.values[from..to],
            _ => &[],
        }
    }
}

/// Marks by number.
#[derive(Default)]
pub struct Marks(Vec<bool>);

impl Marks {
    /// Sets a mark; false where it was set before.
    pub fn set(&mut self, number: u32) -> bool {
        let number = number as usize;
        if self.0.len() <= number {
            self.0.resize(number + 1, false);
        }
        !std::mem::replace(&mut self.0[number], true)
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

/// The beginning of a fingerprint: enough to tell values of one parent apart.
pub fn short(fingerprint: Uuid) -> u64 {
    fingerprint.as_u64_pair().0
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
    fn lists_hold_what_was_pushed_in_its_order() {
        let mut pairs = Pairs::default();
        for (parent, value) in [(2, 'a'), (0, 'b'), (2, 'c'), (2, 'd')] {
            pairs.push(parent, value);
        }
        let lists = pairs.into_lists(4);
        let all: Vec<&[char]> = (0..6).map(|parent| lists.of(parent)).collect();
        assert_eq!(all, [&['b'][..], &[], &['a', 'c', 'd'], &[], &[], &[]]);
    }

    #[test]
    fn marks_and_pairs_keep_their_numbers() {
        let mut marks = Marks::default();
        assert!(marks.set(3) && !marks.set(3) && !marks.has(2) && marks.has(3) && !marks.has(9));
        assert_eq!(unpair(pair(7, u32::MAX)), (7, u32::MAX));
    }
}
