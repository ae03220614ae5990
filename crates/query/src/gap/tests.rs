use super::*;

fn gap(segment: &str) -> Gap {
    let why = "lookup_seconds_max (10 s) was over".to_owned();
    Gap { kind: GapKind::Deadline, segment: Some(segment.to_owned()), why }
}

#[test]
fn a_summary_names_the_first_and_counts_the_others() {
    assert_eq!(summary(&[]), None);
    let one = "a could not be read: lookup_seconds_max (10 s) was over";
    assert_eq!(summary(&[gap("a")]).as_deref(), Some(one));
    let many: Vec<Gap> = ["a", "b", "c", "d", "e"].into_iter().map(gap).collect();
    let text = summary(&many).expect("something is missing");
    assert!(
        text.starts_with(one) && text.contains("; c could not") && text.ends_with("; and 2 more"),
        "{text}"
    );
    assert!(!text.contains("d could not"), "{text}");
}
