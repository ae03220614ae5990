use super::*;

#[test]
fn limits_of_tenants_read_back_as_they_are_written() {
    for (text, printed) in [
        ("", ""),
        ("acme=age:30d", "acme=age:2592000s"),
        ("acme=bytes:50GiB age:1h, beta=age:off,", "acme=age:3600s bytes:50GiB,beta=age:off"),
        (" a = bytes:off ", "a=bytes:off"),
        ("a=age:90", "a=age:90s"),
    ] {
        let parsed = TenantList.parse(text).expect(text);
        assert_eq!(TenantList.print(&parsed), printed);
        assert_eq!(TenantList.parse(printed).expect(printed), parsed);
    }
}

#[test]
fn what_is_no_limit_of_a_tenant_is_refused() {
    for text in [
        "acme",
        "acme=",
        "acme=30d",
        "acme=age:",
        "acme=age:soon",
        "acme=size:1GiB",
        "acme=age:1d age:2d",
        "acme=age:1d,acme=bytes:1GiB",
        "a/b=age:1d",
        "=age:1d",
        "acme=age:-1",
        "acme=age:101000d",
    ] {
        assert!(TenantList.parse(text).is_err(), "{text}");
    }
}
