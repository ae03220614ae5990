use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, FromArgMatches};

use super::*;

fn args(flags: &[&str]) -> SettingsArgs {
    let command = SettingsArgs::augment_args(clap::Command::new("serve"));
    let matches = command.try_get_matches_from(std::iter::once("serve").chain(flags.iter().copied()));
    SettingsArgs::from_arg_matches(&matches.expect("known flags")).expect("flags")
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn load(file: &str, env: &[(&str, &str)], flags: &[&str]) -> Result<Settings, String> {
    let folder = tempfile::tempdir().expect("a folder");
    if !file.is_empty() {
        std::fs::write(folder.path().join("tracelake.toml"), file).expect("written");
    }
    Settings::load_from(&args(flags), environment(env), folder.path()).map_err(|error| error.to_string())
}

fn origin(settings: &Settings, name: &str) -> Origin {
    settings.describe().into_iter().find(|setting| setting.name == name).expect("a setting").origin
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let file = "request_spans_max = 1\nconnections_max = 11\ntrace_spans_max = 1\n";
    let env = [("TRACELAKE_CONNECTIONS_MAX", "12"), ("TRACELAKE_TRACE_SPANS_MAX", "2"), ("PATH", "/bin")];
    let settings = load(file, &env, &["--trace-spans-max", "3"]).expect("valid");
    let spans_default = Settings::default().concurrent_lookups_max;
    assert_eq!(
        (
            settings.concurrent_lookups_max,
            settings.request_spans_max,
            settings.connections_max,
            settings.trace_spans_max
        ),
        (spans_default, 1, 12, 3)
    );
    assert_eq!(origin(&settings, "concurrent_lookups_max"), Origin::Default);
    assert!(
        matches!(origin(&settings, "request_spans_max"), Origin::File(path) if path.ends_with("tracelake.toml"))
    );
    assert_eq!(
        origin(&settings, "connections_max"),
        Origin::Environment("TRACELAKE_CONNECTIONS_MAX".to_owned())
    );
    assert_eq!(origin(&settings, "trace_spans_max"), Origin::Flag("--trace-spans-max".to_owned()));
}

#[test]
fn an_unknown_key_is_refused_and_the_right_one_named() {
    let cases = [
        (load("data_dirr = \"x\"", &[], &[]), "data_dirr", Some("data_dir?")),
        (load("otlp-grpc-addr = \"x\"", &[], &[]), "otlp-grpc-addr", Some("otlp_grpc_addr?")),
        (load("[storage]\ndir = \"x\"", &[], &[]), "storage", Some("store?")),
        (load("[segments]\ndir = \"x\"", &[], &[]), "segments", None),
        (load("", &[("TRACELAKE_DATADIR", "x")], &[]), "TRACELAKE_DATADIR", Some("TRACELAKE_DATA_DIR?")),
        (load("", &[("TRACELAKE_ZZZ", "x")], &[]), "TRACELAKE_ZZZ", None),
    ];
    for (result, given, suggestion) in cases {
        let message = result.expect_err("refused");
        assert!(message.contains(given), "{message}");
        match suggestion {
            Some(name) => assert!(message.contains(name), "{message}"),
            None => assert!(!message.contains("did you mean"), "{message}"),
        }
    }
}

/// What Kubernetes puts into each pod for a Service `tracelake` with the ports 4317, named
/// `otlp-grpc`, and 53 over UDP, and for another one, `tracelake-api`.
const OF_KUBERNETES: [(&str, &str); 17] = [
    ("TRACELAKE_SERVICE_HOST", "10.96.12.7"),
    ("TRACELAKE_SERVICE_PORT", "4317"),
    ("TRACELAKE_SERVICE_PORT_OTLP_GRPC", "4317"),
    ("TRACELAKE_PORT", "tcp://10.96.12.7:4317"),
    ("TRACELAKE_PORT_4317_TCP", "tcp://10.96.12.7:4317"),
    ("TRACELAKE_PORT_4317_TCP_PROTO", "tcp"),
    ("TRACELAKE_PORT_4317_TCP_PORT", "4317"),
    ("TRACELAKE_PORT_4317_TCP_ADDR", "10.96.12.7"),
    ("TRACELAKE_PORT_53_UDP", "udp://10.96.12.7:53"),
    ("TRACELAKE_PORT_53_UDP_PROTO", "udp"),
    ("TRACELAKE_PORT_53_UDP_PORT", "53"),
    ("TRACELAKE_PORT_53_UDP_ADDR", "10.96.12.7"),
    ("TRACELAKE_API_SERVICE_HOST", "fd00::7"),
    ("TRACELAKE_API_SERVICE_PORT", "8080"),
    ("TRACELAKE_API_PORT", "tcp://[fd00::7]:8080"),
    ("TRACELAKE_API_PORT_8080_TCP", "tcp://[fd00::7]:8080"),
    ("TRACELAKE_API_PORT_8080_TCP_ADDR", "fd00::7"),
];

#[test]
fn what_kubernetes_puts_into_the_environment_is_no_setting() {
    let settings = load("", &OF_KUBERNETES, &[]).expect("valid");
    assert!(settings.describe().iter().all(|setting| setting.origin == Origin::Default));
    // The names of settings stay settings, and what is only like Kubernetes' stays an error.
    let mut with_setting = OF_KUBERNETES.to_vec();
    with_setting.push(("TRACELAKE_API_ADDR", "127.0.0.1:9"));
    assert_eq!(load("", &with_setting, &[]).expect("valid").api_addr.port(), 9);
    for (name, value) in [
        ("TRACELAKE_PORT", "4317"),
        ("TRACELAKE_API_PORT", "8080"),
        ("TRACELAKE_SERVICE_HOSTS", "10.96.12.7"),
        ("TRACELAKE_SERVICE_PORT_", "4317"),
        ("TRACELAKE_PORT_X_TCP", "tcp://10.96.12.7:4317"),
        ("TRACELAKE_PORT_4317_HTTP", "4317"),
        ("TRACELAKE_PORT_4317_TCP_NAME", "x"),
        ("TRACELAKE_PORT_4317_TCP_ADDR_X", "x"),
        ("TRACELAKE_PORT_99999_TCP", "tcp://10.96.12.7:99999"),
        ("TRACELAKE_service_host", "10.96.12.7"),
    ] {
        let message = load("", &[(name, value)], &[]).expect_err(name);
        assert!(message.contains(name) && message.contains("is not a setting"), "{message}");
    }
    for setting in Settings::table() {
        let name = setting.name.to_uppercase();
        assert!(!sources::is_of_kubernetes(&name, "tcp://10.96.12.7:4317"), "{name} is a setting");
    }
}

#[test]
fn what_the_tests_use_is_no_setting() {
    let own = [("TRACELAKE_TEST_SEED", "1"), ("TRACELAKE_TEST_REQUIRE", "mount"), ("TRACELAKE_BLESS", "1")];
    load("", &own, &[]).expect("valid");
}

#[test]
fn a_value_out_of_its_kind_is_refused_with_its_origin_and_what_was_expected() {
    for (name, value, expected) in [
        ("request_bytes_max", "64XB", "such as 64MiB"),
        ("request_bytes_max", "2GiB", "to 1GiB"),
        ("request_bytes_max", "99999999999999999999", "to 1GiB"),
        ("request_bytes_max", "", "such as 64MiB"),
        ("body_read_seconds_max", "0", "from 1 to 3600"),
        ("body_read_seconds_max", "é", "from 1 to 3600"),
        ("otlp_http_addr", "4318", "IP:PORT"),
        ("otlp_http_addr", "example.com:4318", "IP:PORT"),
        ("log_format", "xml", "text | json"),
        ("log_level", "verbose", "debug"),
        ("cors_allowed_origins", "shop.example", "https://shop.example"),
        ("cors_allowed_origins", "https://shop.example/", "https://shop.example"),
        ("cors_allowed_origins", "*,https://shop.example", "* alone"),
        ("connections_max", "-1", "whole number"),
        ("data_dir", "", "folder"),
        ("store", "traces", "s3://BUCKET/PREFIX"),
        ("store_endpoint", "127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("store_region", "eu central", "eu-central-1"),
        ("store_path_style", "yes", "true | false"),
    ] {
        let variable = format!("TRACELAKE_{}", name.to_uppercase());
        let message = load("", &[(&variable, value)], &[]).expect_err(name);
        assert!(message.contains(&variable) && message.contains(expected), "{name}={value}: {message}");
    }
}

#[test]
fn a_budget_smaller_than_one_request_is_refused() {
    let message = load("in_flight_bytes_max = '1MiB'", &[], &[]).expect_err("refused");
    assert!(message.contains("in_flight_bytes_max"), "{message}");
}

#[test]
fn sizes_and_seconds_take_units() {
    let file = "request_bytes_max = '1MB'\nrequest_decoded_bytes_max = 2048\nbody_read_seconds_max = '2m'\n\
                header_read_seconds_max = 5\ngeneration_age_seconds_max = '60s'\ntrace_bytes_max = '3 kib'\n";
    let settings = load(file, &[], &[]).expect("valid");
    assert_eq!(settings.request_bytes_max, 1_000_000);
    assert_eq!(settings.request_decoded_bytes_max, 2048);
    assert_eq!(settings.body_read_seconds_max, 120);
    assert_eq!(settings.header_read_seconds_max, 5);
    assert_eq!(settings.generation_age_seconds_max, 60);
    assert_eq!(settings.trace_bytes_max, 3072);
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let file = "cors_allowed_origins = ['https://Shop.example', 'http://localhost:3000']\nlog_format = 'json'\n\
                log_level = 'info,tracelake_store=debug'\nrequest_bytes_max = 1000001\n";
    let settings =
        load(file, &[], &["--otlp-grpc-addr", "[::1]:0", "--data-dir", "/tmp/x y"]).expect("valid");
    let mut again = Settings::default();
    for setting in settings.describe() {
        assert_eq!(again.set(setting.name, &setting.value, Origin::Default), Ok(true), "{}", setting.name);
    }
    for (now, then) in settings.describe().iter().zip(again.describe()) {
        assert_eq!((now.name, &now.value), (then.name, &then.value));
    }
    assert_eq!(settings.data_dir, PathBuf::from("/tmp/x y"));
    let changed: Vec<&str> = settings
        .describe()
        .iter()
        .filter(|setting| settings.is_set(setting))
        .map(|setting| setting.name)
        .collect();
    assert_eq!(
        changed,
        [
            "data_dir",
            "otlp_grpc_addr",
            "log_format",
            "log_level",
            "cors_allowed_origins",
            "request_bytes_max"
        ]
    );
}

#[test]
fn a_file_that_was_named_must_be_there_and_be_toml() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("my.toml");
    let args = args(&["--config", path.to_str().expect("utf-8")]);
    let load =
        || Settings::load_from(&args, environment(&[]), folder.path()).map_err(|error| error.to_string());
    let message = load().expect_err("absent");
    assert!(message.contains("my.toml") && message.contains("cannot be read"), "{message}");
    std::fs::write(&path, "data_dir = ").expect("written");
    let message = load().expect_err("no TOML");
    assert!(message.contains("not valid TOML") && message.contains("line 1"), "{message}");
    std::fs::write(&path, "connections_max = 17").expect("written");
    assert_eq!(load().expect("valid").connections_max, 17);
}

#[test]
fn limits_have_the_settings_names() {
    let names: Vec<String> = limits::ALL.iter().map(|limit| limit.name.to_ascii_lowercase()).collect();
    let own = [
        "data_dir",
        "disk_cache_dir",
        "store",
        "store_endpoint",
        "store_region",
        "store_path_style",
        "log_format",
        "log_level",
        "cors_allowed_origins",
        "prefetch",
        "related_trace_attributes",
        "retention_tenants",
    ];
    for setting in Settings::table() {
        let known = names.iter().any(|name| name == setting.name)
            || setting.name.ends_with("_addr")
            || own.contains(&setting.name);
        assert!(known, "{} is a limit without its entry in the table of limits", setting.name);
    }
}

#[test]
fn tenants_have_the_limits_of_all_where_they_have_none_of_their_own() {
    let file = "retention_age_seconds_max = '30d'\nretention_bytes_max = '10GiB'\n\
                retention_tenants = ['a=age:1d', 'b=bytes:off', 'c=age:off bytes:2GiB']\n";
    let settings = load(file, &[], &[]).expect("valid");
    assert_eq!(settings.retention_age_seconds_max, 30 * 86_400);
    let policy = settings.store_options().retention;
    let limits =
        |limits: RetentionLimits| (limits.age_max.map(|age| age.as_secs() / 86_400), limits.bytes_max);
    assert_eq!(limits(policy.others), (Some(30), Some(10 << 30)));
    let tenants: Vec<_> = policy.tenants.iter().map(|(name, own)| (name.as_str(), limits(*own))).collect();
    let expected = [("a", (Some(1), Some(10 << 30))), ("b", (Some(30), None)), ("c", (None, Some(2 << 30)))];
    assert_eq!(tenants, expected);
    assert!(Settings::default().store_options().retention.is_off(), "nothing goes that nobody asked to");
}

#[test]
fn a_limit_of_bytes_has_room_for_a_few_slices() {
    for flag in ["--retention-bytes-max=1023MiB", "--retention-tenants=a=bytes:1023MiB"] {
        let error = load("", &[], &[flag]).expect_err(flag);
        assert!(error.contains("slice_bytes (1GiB)"), "{error}");
        load("", &[], &[flag, "--slice-bytes=128MiB"]).expect(flag);
    }
    load("", &[], &["--retention-bytes-max=1GiB", "--retention-tenants=a=bytes:off"]).expect("valid");
}

#[test]
fn segments_are_merged_before_spans_are_turned_down() {
    let settings = load("flushed_segments_max = 600\nflushed_segments_waiting_max = 1200", &[], &[]);
    let options = settings.expect("valid").store_options();
    assert_eq!((options.flushed_segments_max, options.flushed_segments_waiting_max), (600, 1200));
    let error = load("", &[], &["--flushed-segments-max=257"]).expect_err("never merged");
    assert!(error.contains("flushed_segments_waiting_max (512)"), "{error}");
}

#[test]
fn credentials_in_urls_are_refused_and_shown_nowhere() {
    for (name, value) in [
        ("TRACELAKE_STORE", "s3://key:hidden@traces/a"),
        ("TRACELAKE_STORE", "az://container/a?sig=hidden"),
        ("TRACELAKE_STORE_ENDPOINT", "http://key:hidden@127.0.0.1:9000"),
        ("TRACELAKE_STORE_ENDPOINT", "http://127.0.0.1:9000?token=hidden"),
    ] {
        let message = load("", &[(name, value)], &[]).expect_err("refused");
        assert!(message.contains(name) && !message.contains("hidden"), "{message}");
    }
}

#[test]
fn the_place_of_a_store_is_the_same_setting_for_every_command() {
    let place = |flags: &[&str], env: &[(&str, &str)]| {
        let command = StorePlaceArgs::augment_args(clap::Command::new("verify"));
        let matches = command.try_get_matches_from(std::iter::once("verify").chain(flags.iter().copied()));
        let args = StorePlaceArgs::from_arg_matches(&matches.expect("known flags")).expect("flags");
        args.place_from(environment(env)).map_err(|error| error.to_string())
    };
    let env =
        [("TRACELAKE_STORE", "s3://traces/a"), ("TRACELAKE_STORE_PATH_STYLE", "false"), ("TRACELAKE_X", "")];
    let flags = ["--store-endpoint=http://127.0.0.1:1", "--store-region=x"];
    let found = place(&flags, &env).expect("a place");
    let file = "store = 's3://traces/a'\nstore_path_style = false\n";
    assert_eq!(found, load(file, &[], &flags).expect("valid").store_place());
    assert_eq!(place(&["--store=gs://b"], &env).expect("a place").location.to_string(), "gs://b");
    assert_eq!(place(&[], &[]).expect("a place"), StorePlace::default());
    let message = place(&["--store=b"], &[]).expect_err("no location");
    assert!(message.contains("--store") && message.contains("s3://"), "{message}");
}
