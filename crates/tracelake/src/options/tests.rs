use std::collections::BTreeMap;

use tracelake_store::retention::RetentionLimits;

use super::*;

#[test]
fn merges_are_as_the_options_say() {
    let age_max = Some(Duration::from_nanos(700));
    let options = Options {
        slice_bytes: 11,
        flushed_segments_max: 3,
        flushed_segments_waiting_max: 7,
        retention: RetentionPolicy {
            others: RetentionLimits { age_max, bytes_max: None },
            tenants: BTreeMap::new(),
        },
        ..Options::new("folder")
    };
    let policy = options.compaction();
    assert_eq!(
        (policy.slice_bytes, policy.flushed_segments_max, policy.flushed_segments_waiting_max),
        (11, 3, 7)
    );
    let few_wait = Options { flushed_segments_waiting_max: 5, ..options };
    assert_eq!(few_wait.compaction().flushed_segments_waiting_max, 6);
    assert_eq!(policy.ends_apart_max, 700 / u64::from(AGE_PARTS));
    assert_eq!(Options::new("folder").compaction().ends_apart_max, u64::MAX, "nothing expires");
}
