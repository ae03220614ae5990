use super::*;

fn parse(text: &str) -> Result<Location, String> {
    text.parse()
}

#[test]
fn a_location_is_printed_as_it_is_written() {
    for text in [
        "",
        "file:///var/lib/traces",
        "s3://traces",
        "s3://traces/a/b",
        "gs://traces.example.com/a",
        "az://container/a",
    ] {
        assert_eq!(parse(text).map(|location| location.to_string()), Ok(text.to_owned()));
    }
    assert_eq!(parse("s3://traces/a/").map(|location| location.to_string()), Ok("s3://traces/a".to_owned()));
}

#[test]
fn what_is_no_location_is_refused() {
    for text in [
        "traces",
        "/var/lib/traces",
        "http://127.0.0.1:9000/traces",
        "s3:traces",
        "s3://",
        "s3:///a",
        "s3://tra ces",
        "s3://traces//a",
        "s3://traces/../a",
        "s3://traces/a?versionId=1",
        "s3://traces/a#b",
        "S3://traces",
        "file://",
        "file:///",
        "file://host/folder",
        "file://folder",
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains("s3://BUCKET/PREFIX"), "{text}: {error}");
    }
}

#[test]
fn credentials_are_refused_and_not_repeated() {
    for text in ["s3://key:secret@traces/a", "gs://secret@traces", "az://account:secret@container"] {
        let error = parse(text).expect_err(text);
        assert!(error.contains("environment") && !error.contains("secret"), "{error}");
    }
    let error = parse_endpoint("http://key:secret@127.0.0.1:9000").expect_err("refused");
    assert!(error.contains("environment") && !error.contains("secret"), "{error}");
}

#[test]
fn an_endpoint_has_a_scheme_and_a_host() {
    for text in
        ["", "http://127.0.0.1:9000", "https://s3.example", "https://s3.example/path", "http://[::1]:1"]
    {
        assert_eq!(parse_endpoint(text), Ok(text.to_owned()));
    }
    assert_eq!(parse_endpoint("http://127.0.0.1:9000/"), Ok("http://127.0.0.1:9000".to_owned()));
    for text in
        ["127.0.0.1:9000", "ftp://x", "http://", "http:///x", "http://:1", "http://x y", "https://x?y"]
    {
        assert!(parse_endpoint(text).is_err(), "{text}");
    }
}
