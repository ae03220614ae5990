use super::*;

#[test]
fn names_that_could_leave_their_place_are_refused() {
    let long = "a".repeat(TENANT_ID_BYTES_MAX + 1);
    let refused =
        ["", ".", "..", "a/b", "a\\b", "%2f", "a.b", "a b", "a\0", "tenant\n", "tеnant", long.as_str()];
    for text in refused {
        assert_eq!(text.parse::<TenantId>(), Err(ParseTenantError), "{text:?}");
    }
}

#[test]
fn plain_names_pass() {
    for text in ["default", "a", "Team-7_prod", &"z".repeat(TENANT_ID_BYTES_MAX)] {
        assert_eq!(text.parse::<TenantId>().expect("a valid name").as_str(), text);
    }
    assert_eq!(TenantId::default().as_str(), "default");
}
