//! Random numbers: a stream is named by (seed, purpose, number), never by a thread or the clock.

use rand::SeedableRng;
pub use rand_xoshiro::Xoshiro256PlusPlus as Rng;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The stream number `number` of a purpose, for example `("batch", 17)`.
///
/// Streams of different seeds, purposes or numbers are independent for all that we use them for.
pub fn stream(seed: u64, purpose: &str, number: u64) -> Rng {
    let purpose = xxh3_64_with_seed(purpose.as_bytes(), seed);
    Rng::seed_from_u64(xxh3_64_with_seed(&number.to_le_bytes(), purpose))
}

/// A number in `0..n`, from one 64-bit draw (Lemire's multiply-shift; bias below n / 2^64).
#[inline]
pub fn below(rng: &mut Rng, n: u64) -> u64 {
    use rand::Rng as _;
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng as _;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |seed, purpose, number| stream(seed, purpose, number).next_u64();
        assert_eq!(draw(1, "batch", 2), draw(1, "batch", 2));
        let others = [draw(2, "batch", 2), draw(1, "init", 2), draw(1, "batch", 3)];
        assert!(others.iter().all(|&x| x != draw(1, "batch", 2)));
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut rng = stream(7, "test", 0);
        let mut counts = [0u32; 10];
        for _ in 0..100_000 {
            counts[below(&mut rng, 10) as usize] += 1;
        }
        assert!(counts.iter().all(|&c| (9_500..10_500).contains(&c)), "{counts:?}");
    }
}
