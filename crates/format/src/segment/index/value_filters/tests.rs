use super::*;
use crate::segment::filter::Width;
use crate::segment::meta::SegmentTenant;

fn meta() -> SegmentMeta {
    let tenant = |name: &str, first_row| SegmentTenant {
        tenant: name.parse().expect("a tenant"),
        first_row,
        rows: 10,
        traces: 2,
    };
    let tenants = vec![tenant("default", 0), tenant("other", 10)];
    SegmentMeta { tenants, ..SegmentMeta::new(ulid::Ulid(1), 1) }
}

fn key(value: IndexValue<'_>) -> ValueKey {
    ValueKey::of(FieldScope::Span, "user.id", value).expect("a value that is known")
}

fn of_keys(mut keys: Vec<u64>) -> Vec<u8> {
    keys.sort_unstable();
    KeyFilter::build(&keys, Width::One)
}

#[test]
fn what_a_tenant_has_is_held_and_hardly_anything_else() {
    let names: Vec<String> = (0..3_000).map(|number| format!("user-{number}")).collect();
    let keys: Vec<u64> = names.iter().map(|name| key(IndexValue::Text(name)).0).collect();
    let mut bytes = Vec::new();
    ValueFilters::push(&mut bytes, 0, &of_keys(keys[..1_000].to_vec()));
    ValueFilters::push(&mut bytes, 0, &of_keys(keys[1_000..2_000].to_vec()));
    ValueFilters::push(&mut bytes, 1, &of_keys(keys[2_000..].to_vec()));
    let filters = ValueFilters::parse(&bytes.into()).expect("own bytes");
    let (meta, tenant) = (meta(), |name: &str| name.parse().expect("a tenant"));
    let held = |tenant: &TenantId, names: &[String]| {
        names.iter().filter(|name| filters.may_hold(&meta, tenant, key(IndexValue::Text(name)))).count()
    };
    assert_eq!(held(&tenant("default"), &names[..2_000]), 2_000);
    assert_eq!(held(&tenant("other"), &names[2_000..]), 1_000);
    assert!(held(&tenant("default"), &names[2_000..]) < 50);
    assert_eq!(held(&tenant("nobody"), &names), 0);
    assert!(filters.heap_bytes() < 3_000 * 2);
}

#[test]
fn equal_numbers_have_one_key_and_other_types_others() {
    assert_eq!(key(IndexValue::Int(500)), key(IndexValue::Double(500.0)));
    assert_eq!(key(IndexValue::Double(-0.0)), key(IndexValue::Int(0)));
    assert_ne!(key(IndexValue::Int(500)), key(IndexValue::Text("500")));
    let other = ValueKey::of(FieldScope::Resource, "user.id", IndexValue::Int(500));
    assert_ne!(Some(key(IndexValue::Int(500))), other);
    assert_eq!(ValueKey::of(FieldScope::Span, "user.id", IndexValue::Double(f64::NAN)), None);
    assert_eq!(ValueKey::of(FieldScope::Span, &"k".repeat(257), IndexValue::Int(1)), None);
}

#[test]
fn damaged_filters_are_refused_or_others() {
    let mut bytes = Vec::new();
    ValueFilters::push(&mut bytes, 0, &of_keys((0..50).map(|number| number * 977).collect()));
    ValueFilters::push(&mut bytes, 1, &KeyFilter::anything());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        drop(ValueFilters::parse(&damaged.into()));
        let cut = ValueFilters::parse(&bytes[..at].to_vec().into());
        assert_eq!(cut.is_ok(), at == 0 || cut.is_ok_and(|filters| filters.parts.len() == 1), "cut at {at}");
    }
}
