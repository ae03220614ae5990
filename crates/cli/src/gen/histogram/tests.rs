use super::*;

#[test]
fn every_duration_is_in_a_bucket_no_wider_than_a_64th_of_it() {
    let mut last = 0;
    for micros in
        (0..20_000).chain((15..36).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1]))
    {
        let bucket = bucket(micros);
        assert!(bucket >= last, "{micros} µs");
        let upper = upper_micros(bucket);
        assert!(upper >= micros, "{micros} µs in {bucket} up to {upper}");
        assert!(upper - micros <= micros / STEPS, "{micros} µs in {bucket} up to {upper}");
        last = bucket;
    }
}

#[test]
fn percentiles_are_those_of_the_sorted_durations() {
    let mut histogram = Histogram::new();
    let mut other = Histogram::new();
    assert_eq!(histogram.percentile_ms(99.0), 0.0);
    for millis in 1..=1_000 {
        if millis % 2 == 0 { &mut histogram } else { &mut other }.record(Duration::from_millis(millis));
    }
    histogram.merge(&other);
    assert_eq!(histogram.count(), 1_000);
    for (percent, expected) in [(50.0, 500.0), (90.0, 900.0), (99.0, 990.0)] {
        let found = histogram.percentile_ms(percent);
        assert!((expected..=expected * 1.016).contains(&found), "p{percent} is {found}");
    }
    assert_eq!(histogram.percentile_ms(100.0), 1_000.0);
    assert_eq!(histogram.max_ms(), 1_000.0);
}

#[test]
fn what_is_longer_than_all_buckets_is_in_the_last() {
    let mut histogram = Histogram::new();
    histogram.record(Duration::MAX);
    assert_eq!(histogram.count(), 1);
    assert!(histogram.percentile_ms(50.0) > 1e6);
}
