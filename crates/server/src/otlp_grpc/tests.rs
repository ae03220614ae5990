use prost_types::FileDescriptorSet;

use super::*;

/// The trace service's files out of all of opentelemetry-proto, without comments, as bytes.
fn trace_descriptors() -> Vec<u8> {
    let wanted = [
        "opentelemetry/proto/common/v1/common.proto",
        "opentelemetry/proto/resource/v1/resource.proto",
        "opentelemetry/proto/trace/v1/trace.proto",
        "opentelemetry/proto/collector/trace/v1/trace_service.proto",
    ];
    let all = FileDescriptorSet::decode(opentelemetry_proto::DESCRIPTORS).expect("valid");
    let file = wanted.map(|name| {
        let found = all.file.iter().find(|file| file.name() == name);
        let mut file = found.expect(name).clone();
        file.source_code_info = None;
        file
    });
    FileDescriptorSet { file: file.to_vec() }.encode_to_vec()
}

/// `TRACELAKE_BLESS=1` writes the file anew.
#[test]
fn the_descriptors_are_those_of_opentelemetry_proto() {
    let expected = trace_descriptors();
    if std::env::var_os("TRACELAKE_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/otlp_grpc/trace_service.descriptors");
        std::fs::write(path, &expected).expect("written");
        return;
    }
    assert!(DESCRIPTORS == expected, "run this test once with TRACELAKE_BLESS=1 and look at what changed");
}

#[test]
fn a_grpc_call_is_known_by_its_content_type() {
    for (value, expected) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;charset=utf-8", true),
        ("application/grpc-web", false),
        ("application/grpc+json", false),
        ("application/x-protobuf", false),
    ] {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
        assert_eq!(is_grpc(&headers), expected, "{value}");
    }
}
