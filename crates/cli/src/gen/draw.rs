//! What is drawn at random: skewed users and products, long-tailed durations, identifiers.
//!
//! One generator, seeded once, in one order: the same seed gives the same draws. Only additions,
//! multiplications, divisions and square roots of floats are used, which IEEE 754 rounds alike
//! everywhere; logarithms and powers are not.

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

/// Users of the shop; the first is asked for as often as the next two together.
const USERS: usize = 100_000;
/// Products of the shop.
const PRODUCTS: usize = 2_000;
/// Entries of a table of quantiles.
const QUANTILES: usize = 1 << 14;

/// The source of all that is random.
#[derive(Debug)]
pub(super) struct Draws {
    rng: SmallRng,
    users: Skewed,
    products: Skewed,
    product_ids: Vec<[u8; 10]>,
    /// Multipliers of a median duration.
    tail: Vec<f32>,
}

/// What all spans of one trace share.
#[derive(Debug, Clone, Copy)]
pub(super) struct TraceContext {
    pub(super) trace_id: [u8; 16],
    pub(super) user: [u8; 12],
    pub(super) session: [u8; 16],
    pub(super) product: [u8; 10],
    pub(super) order: [u8; 20],
    pub(super) ip: [u8; 15],
}

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let product_ids = (0..PRODUCTS)
            .map(|_| {
                let mut id = *b"P000000000";
                const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKLMNPQRSTUVWX";
                let bits = rng.next_u64();
                for (place, byte) in id.iter_mut().skip(1).enumerate() {
                    *byte = LETTERS[(bits >> (5 * place)) as usize % 32];
                }
                id
            })
            .collect();
        // Log-logistic with shape 8/3: median 1, 99th percentile 5.6, one in 10,000 above 30.
        let tail = (0..QUANTILES)
            .map(|quantile| {
                let below = (quantile as f64 + 0.5) / QUANTILES as f64;
                let eighth = (below / (1.0 - below)).sqrt().sqrt().sqrt();
                (eighth * eighth * eighth) as f32
            })
            .collect();
        Self { rng, users: Skewed::new(USERS), products: Skewed::new(PRODUCTS), product_ids, tail }
    }

    /// 64 random bits.
    #[inline]
    pub(super) fn bits(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// Evenly below `bound`; by multiplication, which for bounds this small is even enough.
    #[inline]
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        (((self.rng.next_u64() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// Whether something happens that does in `percent` of a hundred cases.
    #[inline]
    pub(super) fn percent(&mut self, percent: u8) -> bool {
        percent >= 100 || self.below(100) < u32::from(percent)
    }

    /// A duration whose median is `median_ns`, at most 40 times it.
    #[inline]
    pub(super) fn duration_ns(&mut self, median_ns: u64) -> u64 {
        let quantile = self.below(QUANTILES as u32) as usize;
        let factor = self.tail[quantile].min(40.0);
        (median_ns as f64 * f64::from(factor)) as u64 + 1_000
    }

    /// A product's ID, the popular ones more often.
    #[inline]
    pub(super) fn product(&mut self) -> [u8; 10] {
        let rank = self.products.rank(self.rng.next_u64());
        self.product_ids[rank as usize]
    }

    /// A span ID; never zero.
    #[inline]
    pub(super) fn span_id(&mut self) -> [u8; 8] {
        self.rng.next_u64().max(1).to_le_bytes()
    }

    /// What a new trace's spans share.
    pub(super) fn trace_context(&mut self) -> TraceContext {
        let mut trace_id = [0; 16];
        let (low, high) = trace_id.split_at_mut(8);
        low.copy_from_slice(&self.rng.next_u64().max(1).to_le_bytes());
        high.copy_from_slice(&self.rng.next_u64().to_le_bytes());
        let rank = u64::from(self.users.rank(self.rng.next_u64()));
        // A multiplication modulo a prime scatters neighbours: popular users' names are no prefix.
        let number = (rank + 1) * 48_271 % 99_999_989;
        let mut user = *b"usr_00000000";
        put_decimal(&mut user[4..], number);
        let mut order = *b"ord_0000000000000000";
        put_hex(&mut order[4..], self.rng.next_u64());
        let mut session = [0; 16];
        put_hex(&mut session, self.rng.next_u64());
        let mut ip = *b"203.100.100.100";
        for (place, shift) in [(4, 0), (8, 8), (12, 16)] {
            put_decimal(&mut ip[place..place + 3], 100 + (number >> shift) % 150);
        }
        TraceContext { trace_id, user, session, product: self.product(), order, ip }
    }
}

/// Ranks by Zipf's law with exponent 1: rank `k` as often as 1 / (k + 1).
#[derive(Debug)]
struct Skewed {
    /// For each of the even quantiles the rank there; the last is the number of ranks.
    at: Vec<u32>,
}

impl Skewed {
    fn new(ranks: usize) -> Self {
        let total: f64 = (0..ranks).map(|rank| 1.0 / (rank as f64 + 1.0)).sum();
        let mut at = Vec::with_capacity(QUANTILES + 1);
        let mut below = 0.0;
        for rank in 0..ranks {
            while (at.len() as f64) * total <= below * QUANTILES as f64 && at.len() < QUANTILES {
                at.push(rank as u32);
            }
            below += 1.0 / (rank as f64 + 1.0);
        }
        at.resize(QUANTILES, ranks as u32 - 1);
        at.push(ranks as u32);
        Self { at }
    }

    #[inline]
    fn rank(&self, bits: u64) -> u32 {
        let quantile = (bits >> 32) as usize % QUANTILES;
        let (from, to) = (self.at[quantile], self.at[quantile + 1]);
        // Far down the tail one quantile spans many ranks.
        from + (((bits & 0xffff_ffff) * u64::from(to.saturating_sub(from))) >> 32) as u32
    }
}

/// `number` in decimal, padded with zeros, its last digits if it is too long.
pub(super) fn put_decimal(into: &mut [u8], mut number: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The low bits of `number` in hexadecimal, as many as there is room for.
pub(super) fn put_hex(into: &mut [u8], mut number: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for digit in into.iter_mut().rev() {
        *digit = DIGITS[(number & 15) as usize];
        number >>= 4;
    }
}
