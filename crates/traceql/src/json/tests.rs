use serde_json::json;

use super::*;
use crate::QueryErrorKind;

fn printed(value: &Value) -> String {
    from_json(value, "where").expect("a query").to_string()
}

#[test]
fn the_tree_is_that_of_the_text() {
    for (value, expected) in [
        (json!({"field": "name", "op": "=", "value": "GET /"}), r#"name = "GET /""#),
        (json!({"field": "span.a b", "op": "!=", "value": 5}), r#"span."a b" != 5"#),
        (json!({"field": ".x", "op": ">=", "value": 1.0}), ".x >= 1.0"),
        (json!({"field": "duration", "op": ">", "value": "1h30m"}), "duration > 90m"),
        (json!({"field": "duration", "op": ">", "value": 300_000_000}), "duration > 300000000"),
        (json!({"field": "event:timeSinceStart", "op": "<", "value": "-5ms"}), "event:timeSinceStart < -5ms"),
        (json!({"field": "status", "op": "=", "value": "error"}), "status = error"),
        (json!({"field": "kind", "op": "!=", "value": "server"}), "kind != server"),
        (json!({"field": ".x", "op": "=", "value": "error"}), r#".x = "error""#),
        (json!({"field": ".x", "op": "=", "value": true}), ".x = true"),
        (json!({"field": ".parent.x", "op": "=", "value": 1}), ".\"parent.x\" = 1"),
        (json!({"field": ".5xx", "op": "=", "value": i64::MIN}), ".\"5xx\" = -9223372036854775808"),
        (json!({"field": "span:id", "op": "in", "value": ["AB"]}), "span:id = \"00000000000000ab\""),
        (json!({"field": ".x", "op": "=", "value": null}), ".x = nil"),
        (json!({"field": ".x", "op": "!=", "value": null}), ".x != nil"),
        (json!({"field": ".x", "op": "exists"}), ".x != nil"),
        (json!({"field": ".x", "op": "exists", "value": false}), ".x = nil"),
        (json!({"field": ".x", "op": "in", "value": ["a", 5]}), r#".x = "a" || .x = 5"#),
        (json!({"field": "status", "op": "in", "value": ["ok", "unset"]}), "status = ok || status = unset"),
        (json!({"field": "name", "op": "=~", "value": "a|b"}), r#"name =~ "a|b""#),
        (json!({"field": "name", "op": "!~", "value": "a|b"}), r#"name !~ "a|b""#),
        (json!({"field": "name", "op": "prefix", "value": "a.b"}), r#"name =~ "a\\.b(?s:.*)""#),
        (json!({"field": "name", "op": "contains", "value": "x"}), r#"name =~ "(?s:.*)x(?s:.*)""#),
        (
            json!({"and": [{"field": ".a", "op": "=", "value": 1},
                           {"or": [{"field": ".b", "op": "=", "value": 2}, {"field": ".c", "op": "exists"}]},
                           {"not": {"field": ".d", "op": "exists"}}]}),
            ".a = 1 && (.b = 2 || .c != nil) && !(.d != nil)",
        ),
    ] {
        assert_eq!(printed(&value), expected, "{value}");
        let text = crate::parse(&format!("{{ {expected} }}")).expect("a query");
        assert_eq!(text.to_string(), format!("{{ {expected} }}"));
    }
}

#[test]
fn what_is_malformed_is_told_with_its_path() {
    for (value, path) in [
        (json!([]), "where"),
        (json!({}), "where.field"),
        (json!({"field": "name"}), "where.op"),
        (
            json!({"or": [{"and": [{"field": ".a", "op": "exists"},
                                   {"or": [{"field": "event.a", "op": "exists"},
                                           {"field": "link.a", "op": "exists"}]}]}]}),
            "where.or[0].and",
        ),
        (json!({"and": []}), "where.and"),
        (json!({"and": {}}), "where.and"),
        (json!({"and": [{"field": "name", "op": "=", "value": "a"}, 5]}), "where.and[1]"),
        (json!({"or": [{"not": null}]}), "where.or[0].not"),
        (json!({"and": [], "or": []}), "where"),
        (json!({"field": "name", "op": "=", "value": "a", "values": []}), "where"),
        (json!({"field": "colour", "op": "=", "value": "a"}), "where.field"),
        (json!({"field": 5, "op": "=", "value": "a"}), "where.field"),
        (json!({"field": ".a", "op": "like", "value": "a"}), "where.op"),
        (json!({"field": ".a", "value": "a"}), "where.op"),
        (json!({"field": ".a", "op": "="}), "where.value"),
        (json!({"field": ".a", "op": "=", "value": [1]}), "where.value"),
        (json!({"field": ".a", "op": "=", "value": 18_446_744_073_709_551_615u64}), "where.value"),
        (json!({"field": ".a", "op": ">", "value": null}), "where.value"),
        (json!({"field": ".a", "op": "in", "value": []}), "where.value"),
        (json!({"field": "name", "op": "in", "value": ["a", 5]}), "where.value[1]"),
        (json!({"field": "duration", "op": ">", "value": "soon"}), "where.value"),
        (json!({"field": "duration", "op": ">", "value": "5"}), "where.value"),
        (json!({"field": "duration", "op": "prefix", "value": "5"}), "where.field"),
        (json!({"field": "status", "op": "=", "value": "bad"}), "where.value"),
        (json!({"field": "kind", "op": "<", "value": "server"}), "where.value"),
        (json!({"field": "name", "op": "=~", "value": "("}), "where.value"),
        (json!({"field": "name", "op": "=~", "value": 5}), "where.value"),
        (json!({"field": "name", "op": "exists", "value": 5}), "where.value"),
    ] {
        let error = from_json(&value, "where").expect_err(&value.to_string());
        assert_eq!(error.kind, QueryErrorKind::Malformed, "{value}: {error}");
        assert!(error.to_string().ends_with(&format!(" (at {path})")), "{value}: {error}");
    }
}

#[test]
fn nothing_is_unbounded() {
    let leaf = json!({"field": ".a", "op": "exists"});
    let deep = (0..limits::QUERY_DEPTH_MAX).fold(leaf.clone(), |of, _| json!({"not": of}));
    let many = json!({"or": vec![leaf; limits::QUERY_WORDS_MAX as usize]});
    let values = json!({"field": ".a", "op": "in", "value": vec![1; limits::QUERY_WORDS_MAX as usize]});
    let pattern = json!({"field": ".a", "op": "=~", "value": "a"});
    let allowed = json!({"or": vec![pattern.clone(); limits::QUERY_PATTERNS_MAX as usize]});
    from_json(&allowed, "where").expect("as many as there may be");
    let patterns = json!({"or": vec![pattern; limits::QUERY_PATTERNS_MAX as usize + 1]});
    let half = "x".repeat(limits::QUERY_BYTES_MAX as usize / 2);
    let texts = json!({"field": ".a", "op": "in", "value": [half.clone(), half.clone()]});
    let named = json!({"field": format!(".{half}"), "op": "prefix", "value": half});
    for value in [deep, many, values, patterns, texts, named] {
        let error = from_json(&value, "where").expect_err("too large");
        assert_eq!(error.kind, QueryErrorKind::TooLarge, "{error}");
    }
}

#[test]
fn what_of_traceql_is_not_there_is_refused_by_name() {
    for field in ["childCount", "span:childCount", "nestedSetLeft", "parent", "parent.x"] {
        let error = from_json(&json!({"field": field, "op": "exists"}), "where").expect_err(field);
        assert_eq!(error.kind, QueryErrorKind::Unsupported, "{error}");
        assert!(error.message.contains(&format!("`{field}`")), "{error}");
        assert!(error.to_string().ends_with(" (at where.field)"), "{error}");
    }
}
