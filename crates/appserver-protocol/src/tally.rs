//! What workers count on their boards for the metrics, beside what the supervisor counts: where each number stands.

/// Upper ends of the buckets for how long requests take, in microseconds; longer ones have a bucket of their own.
pub const LATENCY_US: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];
/// The same for how long they wait for the application.
pub const QUEUE_US: [u64; 8] = [
    1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 10_000_000,
];

/// The first bucket of the times that requests take.
pub const LATENCY: usize = 0;
/// The sum of these times, in microseconds.
pub const LATENCY_SUM: usize = LATENCY + LATENCY_US.len() + 1;
/// The first bucket of the times that they wait.
pub const QUEUE: usize = LATENCY_SUM + 1;
/// The sum of these times, in microseconds.
pub const QUEUE_SUM: usize = QUEUE + QUEUE_US.len() + 1;
/// Responses by the first digit of their status: 1xx stands here, the others follow.
pub const STATUS: usize = QUEUE_SUM + 1;
/// Kinds of statuses.
pub const STATUS_KINDS: usize = 5;
/// How many numbers there are.
pub const COUNT: usize = STATUS + STATUS_KINDS;

/// The bucket of a value.
#[must_use]
pub fn bucket(ends: &[u64], value: u64) -> usize {
    ends.partition_point(|end| *end < value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_goes_into_the_first_bucket_that_holds_it() {
        for (value, place) in [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (10_000_000, 12),
            (u64::MAX, 13),
        ] {
            assert_eq!(bucket(&LATENCY_US, value), place, "{value}");
        }
        const { assert!(COUNT <= 32) };
    }
}
