use crate::parse::parse;

fn conditions(query: &str) -> Vec<String> {
    let conditions = parse(query).expect("a query").span_conditions();
    conditions.iter().map(ToString::to_string).collect()
}

#[test]
fn what_a_span_cannot_tell_is_left_to_the_trace() {
    let cases = [
        (r#"{ .a = 1 && rootName = "x" }"#, "`.a = 1 && true`"),
        (r#"{ !(rootName = "x") && .a = 1 }"#, "`!(false) && .a = 1`"),
        (r#"{ rootName = "x" || .a = 1 }"#, "`true || .a = 1`"),
        (r#"{ traceDuration > 1s }"#, "`true`"),
    ];
    for (query, expected) in cases {
        assert_eq!(format!("`{}`", conditions(query).join("`, `")), expected, "{query}");
    }
}

#[test]
fn of_several_spans_those_are_looked_for_that_fewer_have() {
    assert_eq!(conditions("{ kind = server } && { .a = 1 }"), [".a = 1"]);
    assert_eq!(conditions("{ .a = 1 } && ({ .b = 2 } || { .c = 3 && duration > 1s })"), [".a = 1"]);
    assert_eq!(conditions("{ } && ({ .b = 2 } || { .c = 3 })"), [".b = 2", ".c = 3"]);
    assert_eq!(conditions("{ .a = 1 } || { rootName = \"x\" }"), [".a = 1", "true"]);
}
