//! Choosing by rank as people do: the first few are chosen all the time, most others hardly ever.

use rand::{Rng, RngExt};

/// What the weights are fractions of; with whole numbers a seed means the same on every platform.
const SCALE: u64 = 1 << 40;

/// Ranks whose weights fall as `1 / (rank + head)`: Zipf's law with a head that is not too steep.
#[derive(Debug)]
pub struct Skew {
    /// Sum of the weights up to and with each rank.
    sums: Vec<u64>,
}

impl Skew {
    /// A choice of `ranks` ranks; the larger `head`, the closer the first ranks are to each other.
    pub fn new(ranks: usize, head: u64) -> Self {
        let weights = (head.max(1)..).take(ranks).map(|divisor| SCALE / divisor);
        let sums = weights
            .scan(0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        Self { sums }
    }

    /// Chooses a rank, from 0; 0 too where there are none.
    pub fn choose(&self, rng: &mut impl Rng) -> usize {
        let total = self.sums.last().copied().unwrap_or(1);
        let point = rng.random_range(0..total.max(1));
        self.sums.partition_point(|sum| *sum <= point)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;

    #[test]
    fn every_rank_can_be_chosen_and_the_first_ones_most() {
        let (skew, mut rng) = (Skew::new(10, 1), ChaCha8Rng::seed_from_u64(1));
        let mut seen = [0_u32; 10];
        for _ in 0..100_000 {
            seen[skew.choose(&mut rng)] += 1;
        }
        // The sum of 1/1 to 1/10 is 2.929.
        for (rank, seen) in (1..).zip(seen) {
            let expected = 100_000.0 / 2.929 / f64::from(rank);
            assert!((f64::from(seen) / expected - 1.0).abs() < 0.1, "rank {rank}: {seen}, not {expected}");
        }
    }

    #[test]
    fn a_choice_of_one_or_none_is_the_first() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(Skew::new(1, 0).choose(&mut rng), 0);
        assert_eq!(Skew::new(0, 5).choose(&mut rng), 0);
    }
}
