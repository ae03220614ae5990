use super::{RejectReason, Rejections};

#[test]
fn no_rejection_has_no_message() {
    assert_eq!(Rejections::default().message(), None);
}

#[test]
fn the_message_names_each_reason_with_its_count() {
    let mut rejections = Rejections::default();
    rejections.add(RejectReason::LinkCount);
    assert_eq!(
        rejections.message().as_deref(),
        Some("1 span rejected: 1 with more links than span_links_max")
    );
    rejections.add(RejectReason::TraceId);
    rejections.add(RejectReason::TraceId);
    assert_eq!(
        rejections.message().as_deref(),
        Some(
            "3 spans rejected: 2 with an invalid trace ID (16 bytes, not all zeros), \
             1 with more links than span_links_max"
        )
    );
}

#[test]
fn merged_counts_add_up_by_reason() {
    let mut sum = Rejections::default();
    for reason in RejectReason::ALL {
        let mut one = Rejections::default();
        one.add(reason);
        sum.merge(&one);
        sum.merge(&one);
    }
    assert_eq!(sum.spans, 2 * RejectReason::ALL.len() as u64);
    assert!(RejectReason::ALL.iter().all(|reason| sum.count(*reason) == 2));
}

#[test]
fn each_reason_is_found_at_its_own_place() {
    for (place, reason) in RejectReason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, place);
    }
}
