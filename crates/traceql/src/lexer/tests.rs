use super::*;

fn tokens(text: &str) -> Vec<Token> {
    words(text).expect(text).into_iter().map(|word| word.token).collect()
}

fn refused(text: &str) -> (std::ops::Range<usize>, String) {
    let error = words(text).expect_err(text);
    (error.bytes().expect("of a text"), error.message)
}

#[test]
fn keys_have_what_other_names_have_not_and_quotes_for_the_rest() {
    let key = |scope, key: &str| vec![Token::Attribute(scope, key.into())];
    for (text, scope, expected) in [
        (".http.route", AttributeScope::Any, "http.route"),
        ("span.http-status/100%", AttributeScope::Span, "http-status/100%"),
        ("resource.service.name", AttributeScope::Resource, "service.name"),
        ("event.Ключ", AttributeScope::Event, "Ключ"),
        ("link.\"a b\"", AttributeScope::Link, "a b"),
        ("instrumentation.x:y", AttributeScope::Instrumentation, "x:y"),
        (".\"parent.x\"", AttributeScope::Any, "parent.x"),
        ("span.parent.x", AttributeScope::Span, "parent.x"),
        (".\"5xx\"", AttributeScope::Any, "5xx"),
        ("span.5xx", AttributeScope::Span, "5xx"),
        (".\"a=\\\"b\\\"\".c", AttributeScope::Any, "a=\"b\".c"),
        ("span.a.\"b c\".d", AttributeScope::Span, "a.b c.d"),
    ] {
        assert_eq!(tokens(text), key(scope, expected), "{text}");
    }
    assert_eq!(
        tokens(".a=.b&&.c"),
        [
            Token::Attribute(AttributeScope::Any, "a".into()),
            Token::Symbol("="),
            Token::Attribute(AttributeScope::Any, "b".into()),
            Token::Symbol("&&"),
            Token::Attribute(AttributeScope::Any, "c".into()),
        ]
    );
}

#[test]
fn numbers_and_durations_are_exact() {
    for (text, token) in [
        ("0", Token::Int(0)),
        ("18446744073709551615", Token::Int(u64::MAX)),
        ("1.5", Token::Double(1.5)),
        (".5", Token::Double(0.5)),
        ("1e3", Token::Double(1_000.0)),
        ("2.5E-3", Token::Double(0.002_5)),
        ("300ms", Token::Duration(300_000_000)),
        ("1h30m", Token::Duration(5_400_000_000_000)),
        ("1.5s", Token::Duration(1_500_000_000)),
        ("0.1s", Token::Duration(100_000_000)),
        ("7us", Token::Duration(7_000)),
        ("7µs", Token::Duration(7_000)),
        ("3ns", Token::Duration(3)),
        ("1m", Token::Duration(60_000_000_000)),
        ("1d", Token::Duration(86_400_000_000_000)),
        ("1w", Token::Duration(7 * 86_400_000_000_000)),
        ("1y12h", Token::Duration(365 * 86_400_000_000_000 + 43_200_000_000_000)),
        ("5s.5s", Token::Duration(5_500_000_000)),
    ] {
        assert_eq!(tokens(text), [token], "{text}");
    }
    for (text, bytes) in [
        ("18446744073709551616", 0..20),
        ("1e999", 0..5),
        ("5D", 0..2),
        ("5s.s", 0..4),
        ("5s.", 0..3),
        ("5msx", 0..4),
        ("1h30", 0..4),
        ("300000h300000000000s", 0..20),
    ] {
        assert_eq!(refused(text).0, bytes, "{text}");
    }
}

#[test]
fn texts_have_escapes_between_double_quotes_and_none_between_backticks() {
    let text = |text: &str| vec![Token::Text(text.into())];
    assert_eq!(tokens(r#""a\n\t\"\\\x41\u00e9\U0001F600""#), text("a\n\t\"\\Aé😀"));
    assert_eq!(tokens(r"`a\d+\`"), text(r"a\d+\"));
    assert_eq!(refused(r#"  "abc"#).0, 2..6);
    assert_eq!(refused(r"`abc").0, 0..4);
    assert_eq!(refused(r#""a\q""#).0, 2..4);
    assert_eq!(refused(r#""\ud800""#).0, 1..7);
    assert_eq!(refused("\"\\").0, 1..2);
    assert_eq!(refused("\"\\xé0\"").0, 1..5);
    assert_eq!(refused("\"\\u+041\"").0, 1..7);
}

#[test]
fn what_is_no_scope_and_no_intrinsic_is_told_with_its_place() {
    assert_eq!(refused("http.status").0, 0..5);
    assert!(refused("http.status").1.contains("`.http…`"));
    assert_eq!(refused("span:colour").0, 0..11);
    assert!(refused("parent.x").1.contains("does not have yet"));
    assert!(refused(".parent.x").1.contains("does not have yet"));
    assert!(refused(".parent.\"x\"").1.contains("does not have yet"));
    assert!(refused("span:childCount").1.contains("does not have yet"));
    assert_eq!(refused("  $").0, 2..3);
    assert_eq!(refused("span.").0, 0..5);
}

#[test]
fn words_are_counted() {
    let text = "( ".repeat(limits::QUERY_WORDS_MAX as usize);
    assert_eq!(tokens(&text).len() as u64, limits::QUERY_WORDS_MAX);
    let error = words(&(text + ")")).expect_err("one more");
    assert_eq!(error.kind, crate::QueryErrorKind::TooLarge);
}
