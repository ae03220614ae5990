use super::*;

#[test]
fn durations_are_numbers_with_units() {
    assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
    assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
    assert_eq!(duration("2d500ms"), Ok(Duration::from_millis(172_800_500)));
    assert_eq!(duration("0"), Ok(Duration::ZERO));
    for refused in ["", "5", "s", "-1s", "1.5h", "1 h", "1y", "99999999999999999999s", "999999999999999999d"]
    {
        assert!(duration(refused).is_err(), "{refused:?}");
    }
}
