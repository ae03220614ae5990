use super::*;
use crate::QueryErrorKind;

fn printed(text: &str) -> String {
    parse(text).expect("a query").to_string()
}

#[test]
fn queries_are_read_as_they_are_meant() {
    for (text, expected) in [
        ("{}", "{ }"),
        ("{ true }", "{ }"),
        ("{ false }", "{ false }"),
        (r#"{name="GET /"}"#, r#"{ name = "GET /" }"#),
        (r#"{ span:name = `GET /` }"#, r#"{ name = "GET /" }"#),
        (
            r#"{ resource.service.name = "cart" && span.http.response.status_code >= 500 && duration > 300ms }"#,
            r#"{ resource.service.name = "cart" && span.http.response.status_code >= 500 && duration > 300ms }"#,
        ),
        // As TraceQL has it: alike, from the left.
        ("{ .a || .b && .c }", "{ (.a = true || .b = true) && .c = true }"),
        ("{ .a && .b || .c && .d }", "{ ((.a = true && .b = true) || .c = true) && .d = true }"),
        ("{ .a || (.b && .c) }", "{ .a = true || (.b = true && .c = true) }"),
        ("{ !.a }", "{ !(.a = true) }"),
        ("{ !(.a = 1) }", "{ !(.a = 1) }"),
        ("{ 500 <= .a }", "{ .a >= 500 }"),
        ("{ .a = -5 }", "{ .a = -5 }"),
        ("{ .a = -9223372036854775808 }", "{ .a = -9223372036854775808 }"),
        ("{ .a > minInt && .a < maxInt }", "{ .a > -9223372036854775808 && .a < 9223372036854775807 }"),
        ("{ .a = (-2) ^ 2 }", "{ .a = ((-2) ^ 2) }"),
        ("{ .a = -2 ^ 2 }", "{ .a = (-(2 ^ 2)) }"),
        ("{ .a = -minInt }", "{ .a = (-(-9223372036854775808)) }"),
        ("{ duration > 1d }", "{ duration > 24h }"),
        ("{ .\"5xx\" = span.5xx }", "{ .\"5xx\" = span.\"5xx\" }"),
        ("{ .\"parent.x\" = span.parent.x }", "{ .\"parent.x\" = span.parent.x }"),
        ("{ span:id = \"AB\" }", "{ span:id = \"00000000000000ab\" }"),
        ("{ \"Z\" != span:parentID }", "{ span:parentID != \"z\" }"),
        ("{ trace:id =~ \"AB\" && trace:id > \"AB\" }", "{ trace:id =~ \"AB\" && trace:id > \"AB\" }"),
        ("{ event.a = 1 || link.a = 1 }", "{ event.a = 1 || link.a = 1 }"),
        ("{ .a && !(event.a || link.a) }", "{ .a = true && !(event.a = true || link.a = true) }"),
        ("{ .a = -1.5 && .b > -2s }", "{ .a = -1.5 && .b > -2s }"),
        ("{ .a = nil && .b != nil }", "{ .a = nil && .b != nil }"),
        ("{ nil != .b }", "{ .b != nil }"),
        ("{ status = error && kind != server }", "{ status = error && kind != server }"),
        ("{ .a = 1 + 2 * 3 ^ 2 ^ 2 }", "{ .a = (1 + (2 * (3 ^ (2 ^ 2)))) }"),
        ("{ .a - 1 > -.b ^ 2 }", "{ (.a - 1) > (-(.b ^ 2)) }"),
        ("{ duration > 2 * traceDuration / 3 }", "{ duration > ((2 * traceDuration) / 3) }"),
        ("{ name =~ \"GET .*\" && .x !~ `\\d+` }", "{ name =~ \"GET .*\" && .x !~ \"\\\\d+\" }"),
        ("{ .a } && { .b } || { .c }", "({ .a = true } && { .b = true }) || { .c = true }"),
        ("{ .a } && ({ .b } || { .c })", "{ .a = true } && ({ .b = true } || { .c = true })"),
        (
            "{ event:name = \"e\" && link:spanID = \"ab\" && instrumentation:version = \"1\" }",
            "{ event:name = \"e\" && link:spanID = \"00000000000000ab\" && instrumentation:version = \"1\" }",
        ),
        ("{ span.\"a b\" = \"x\\ny\" }", "{ span.\"a b\" = \"x\\ny\" }"),
        (
            "{ rootServiceName = \"a\" && trace:rootName = \"b\" && trace:duration > 1s }",
            "{ rootServiceName = \"a\" && rootName = \"b\" && traceDuration > 1s }",
        ),
        (
            "{ span:kind = server && span:status = error && span:statusMessage = \"m\" && span:duration > 1s }",
            "{ kind = server && status = error && statusMessage = \"m\" && duration > 1s }",
        ),
        ("{ trace:rootService = \"a\" }", "{ rootServiceName = \"a\" }"),
        ("{ .a =\n  1 }", "{ .a = 1 }"),
    ] {
        assert_eq!(printed(text), expected, "{text}");
        assert_eq!(printed(expected), expected, "what is printed reads as the same");
    }
}

#[test]
fn what_is_malformed_is_underlined() {
    for (text, place, message) in [
        ("", 0..0, "empty query"),
        ("  ", 0..2, "empty query"),
        ("name = 1", 0..4, "begins with `{`"),
        ("{ name = }", 9..10, "a value or a field"),
        ("{ name = ", 9..9, "a value or a field"),
        ("{ .a = 1", 8..8, "`}` is missing"),
        ("{ .a = 1 .b = 2 }", 9..11, "operator is missing"),
        ("{ (.a = 1 }", 10..11, "`)` is missing"),
        ("({ .a = 1 }", 11..11, "`)` is missing"),
        ("{ .a == 1 }", 5..7, "`=`"),
        ("{ name = 5 }", 2..10, "never equal"),
        ("{ status = \"error\" }", 2..18, "never equal"),
        ("{ kind = error }", 9..14, "is no field"),
        ("{ .a = error }", 2..12, "a text stands in quotes"),
        ("{ status > error }", 2..16, "`=` and `!=`"),
        ("{ .a > true }", 2..11, "`=` and `!=`"),
        ("{ .a > nil }", 2..10, "`=` and `!=`"),
        ("{ service = \"a\" }", 2..9, "`.service`"),
        ("{ name }", 2..6, "alone is no condition"),
        ("{ \"a\" }", 2..5, "condition is expected"),
        ("{ 1 + 2 }", 2..7, "condition is expected"),
        ("{ -.a }", 2..5, "condition is expected"),
        ("{ .a = .b = .c }", 2..9, "compared with nothing"),
        ("{ !.a = 1 }", 2..5, "compared with nothing"),
        ("{ name =~ 5 }", 10..11, "in quotes"),
        ("{ \"a\" =~ \"a\" }", 2..5, "a field"),
        ("{ duration =~ \"a\" }", 2..10, "only texts"),
        ("{ name =~ \"(a\" }", 10..14, "no regular expression"),
        ("{ name =~ \"a)(b\" }", 10..16, "no regular expression"),
        ("{ .a = \"x\" + 1 }", 7..10, "with numbers"),
        ("{ .a = 1 } { .b = 1 }", 11..12, "`&&` or `||`"),
        ("{ .a = 1 } &&", 13..13, "`{` is missing"),
        ("{ .a = [1] }", 7..8, "not `[`"),
        ("{ .a = 9223372036854775808 }", 7..26, "64 bits"),
        ("{ .a = -9223372036854775809 }", 7..27, "64 bits"),
        ("{ .a + nil = 1 }", 7..10, "`=` and `!=`"),
        ("!{ .a }", 0..1, "`!` before a spanset"),
        ("{ link.code = 9 * event.code }", 2..28, "&& alone"),
        ("{ .b && (event.a || link.a) }", 2..27, "&& alone"),
        ("{ !(.b && (event.a || (.c && link.a))) }", 3..38, "&& alone"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.kind, QueryErrorKind::Malformed, "{text}: {error}");
        assert_eq!(error.bytes(), Some(place), "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
}

#[test]
fn what_of_traceql_is_not_there_is_refused_by_name() {
    for (text, name) in [
        ("{ .a } >> { .b }", "`>>`"),
        ("{ .a } > { .b }", "`>`"),
        ("{ .a } << { .b }", "`<<`"),
        ("{ .a } < { .b }", "`<`"),
        ("{ .a } ~ { .b }", "`~`"),
        ("{ .a } !>> { .b }", "`!>>`"),
        ("{ .a } !<< { .b }", "`!<<`"),
        ("{ .a } !> { .b }", "`!>`"),
        ("{ .a } !< { .b }", "`!<`"),
        ("{ .a } !~ { .b }", "`!~`"),
        ("{ .a } &>> { .b }", "`&>>`"),
        ("{ .a } &<< { .b }", "`&<<`"),
        ("{ .a } &> { .b }", "`&>`"),
        ("{ .a } &< { .b }", "`&<`"),
        ("{ .a } &~ { .b }", "`&~`"),
        ("({ .a } >> { .b }) && { }", "`>>`"),
        ("{ .a } | count() > 2", "`| count(…)`"),
        ("{ .a } | select(.b)", "`| select(…)`"),
        ("{ } | rate() by (.x)", "`| rate(…)`"),
        ("{ } | quantile_over_time(duration, .9)", "`| quantile_over_time(…)`"),
        ("{ } | histogram_over_time(duration)", "`| histogram_over_time(…)`"),
        ("{ } | compare({ .a })", "`| compare(…)`"),
        ("{ } with (most_recent=true)", "`with (…)`"),
        ("count() > 2", "`count(…)`"),
        ("{ childCount > 2 }", "`childCount`"),
        ("{ nestedSetLeft = 1 }", "`nestedSetLeft`"),
        ("{ nestedSetRight = 1 }", "`nestedSetRight`"),
        ("{ nestedSetParent = 1 }", "`nestedSetParent`"),
        ("{ trace:spanCount > 1 }", "`trace:spanCount`"),
        ("{ span:childCount > 1 }", "`span:childCount`"),
        ("{ parent = nil }", "`parent`"),
        ("{ parent.a = 1 }", "`parent.`"),
        ("{ count() > 2 }", "`count(…)`"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.kind, QueryErrorKind::Unsupported, "{text}: {error}");
        assert!(error.message.contains(name), "{text}: {error}");
    }
}

#[test]
fn nothing_is_unbounded() {
    let deep = format!("{{ {}.a{} }}", "(".repeat(2_000), ")".repeat(2_000));
    let negated = format!("{{ {}.a }}", "!".repeat(2_000));
    let powers = format!("{{ .a = 1{} }}", " ^ 1".repeat(1_000));
    let spansets = format!("{}{{ }}{}", "(".repeat(2_000), ")".repeat(2_000));
    let large = format!("{{ .a = \"{}\" }}", "x".repeat(limits::QUERY_BYTES_MAX as usize));
    let regex = "{ .a =~ \"(((a{100}){100}){100}){100}\" }".to_owned();
    for text in [deep, negated, powers, spansets, large, regex] {
        let error = parse(&text).expect_err("too large");
        assert_eq!(error.kind, QueryErrorKind::TooLarge, "{}", error.message);
    }
}

#[test]
fn of_any_span_are_comparisons_apart_but_for_those_on_one_event_or_link() {
    for (text, expected) in [
        ("{ .a = 1 && name = \"x\" }", "{ .a = 1 } && { name = \"x\" }"),
        ("{ .a = 1 || .b = 2 }", "{ .a = 1 } || { .b = 2 }"),
        ("{ event.a = 1 && .c = 3 && event.b = 2 }", "{ .c = 3 } && { event.a = 1 && event.b = 2 }"),
        ("{ link.a = 1 && event.b = 2 && link.c = 3 }", "{ event.b = 2 } && { link.a = 1 && link.c = 3 }"),
        ("{ event.a = 1 || event.b = 2 }", "{ event.a = 1 } || { event.b = 2 }"),
    ] {
        assert_eq!(parse(text).expect("a query").anywhere().to_string(), expected, "{text}");
    }
    // TraceQL has no word for a trace of which no span is so.
    let none = parse("{ !(.a = 1) && .b = 2 }").expect("a query").anywhere();
    let expected = [TracePredicate::Not(Box::new(any_span("{ .a = 1 }"))), any_span("{ .b = 2 }")];
    assert_eq!(none, TracePredicate::And(expected.into()));
}

fn any_span(text: &str) -> TracePredicate {
    parse(text).expect("a query")
}

/// With a stack that a recursion over as many would exhaust.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(run).expect("a thread");
    thread.join().expect("no panic");
}

#[test]
fn a_long_list_is_not_deep() {
    on_a_small_stack(|| {
        for text in [
            format!("{{ true{} }}", " && true".repeat(2_000)),
            format!("{{ true{} }}", " || true".repeat(2_000)),
            format!("{{ }}{}", " && { }".repeat(1_300)),
            format!("{{ }}{}", " || { }".repeat(1_300)),
        ] {
            assert_eq!(printed(&text), text);
        }
        for text in [
            format!("{{ .a = 1{} }}", " + 1".repeat(2_000)),
            format!("{{ true{} }}", " && true || true".repeat(1_000)),
            format!("{{ }}{}", " && { } || { }".repeat(650)),
        ] {
            let error = parse(&text).expect_err("too deep");
            assert_eq!(error.kind, QueryErrorKind::TooLarge, "{error}");
            assert!(error.message.contains("deep"), "{error}");
        }
    });
}

#[test]
fn expressions_are_counted() {
    let patterns = |count: usize| format!("{{ true{} }}", " && .a =~ `a`".repeat(count));
    parse(&patterns(limits::QUERY_PATTERNS_MAX as usize)).expect("as many as there may be");
    let error = parse(&patterns(limits::QUERY_PATTERNS_MAX as usize + 1)).expect_err("one more");
    assert_eq!(error.kind, QueryErrorKind::TooLarge, "{error}");
}

#[test]
fn an_error_is_short_however_long_its_line_is() {
    let max = limits::QUERY_BYTES_MAX as usize;
    let unclosed = format!("\"{}", "x".repeat(max - 2));
    let behind = format!("{{ .a = `{}` }} ]", "é".repeat(20_000));
    for text in [" ".repeat(max), unclosed, behind] {
        let shown = parse(&text).expect_err("malformed").to_string();
        assert!(shown.chars().count() < 400, "{shown}");
        assert!(shown.contains('…') && shown.contains('^'), "{shown}");
    }
    let shown = parse(&"x".repeat(1 << 20)).expect_err("too large").to_string();
    assert!(shown.len() < 100, "{shown}");
    let text = format!("{{ .{} = = .{} }}", "a".repeat(100), "b".repeat(100));
    let shown = parse(&text).expect_err("malformed").to_string();
    let (before, behind) = ("a".repeat(57), "b".repeat(57));
    let marks = " ".repeat(61);
    assert!(shown.ends_with(&format!("\n  …{before} = = .{behind}…\n  {marks}^")), "{shown}");
}

#[test]
fn an_error_shows_its_line_and_its_place() {
    let error = parse("{ resource.service.name = \"café\"\n  &&\tname = }").expect_err("malformed");
    assert_eq!(error.to_string(), "a value or a field is expected here\n    && name = }\n              ^");
    let error = parse("{ kind = \"é\" }").expect_err("malformed");
    assert!(error.to_string().ends_with("\n  { kind = \"é\" }\n    ^^^^^^^^^^"), "{error}");
}

#[test]
fn an_expression_is_anchored_at_both_ends_whatever_it_has() {
    for (source, text, expected) in [
        ("a|b", "ab", false),
        ("a|b", "b", true),
        ("(?i)GET", "get", true),
        ("(?x) a b # and a comment", "ab", true),
        ("(?m)^a$", "a\nb", false),
        ("a.b", "a\nb", false),
        ("(?s)a.b", "a\nb", true),
        ("GET /users/{id}", "GET /users/{id}", true),
        ("a{2}", "aa", true),
        ("a{1,}{x,2}", "aa{x,2}", true),
        ("a{,2}", "a{,2}", true),
        ("[{]\\{\\\\{}", "{{\\{}", true),
        ("[]{]{[^]{]}", "{{x}", true),
        ("\\p{Greek}\\x{41}[\\p{Greek}]{2}", "αAβγ", true),
        ("{", "{", true),
        ("", "", true),
        ("", "a", false),
    ] {
        let found = parse(&format!("{{ name =~ `{source}` }}")).expect("a query");
        let is_match = matches!(
            &found,
            TracePredicate::AnySpan(Predicate::Match { pattern, .. }) if pattern.matches(text)
        );
        assert_eq!(is_match, expected, "{source} {text}");
    }
}
