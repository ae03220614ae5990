use tracelake_traceql::parse;

use super::by_any;

const A: &str = "5b8efff798038103d269b633813fc60c";
const B: &str = "00000000000000000000000000000001";

fn named(query: &str) -> Option<Vec<String>> {
    let conditions = parse(query).expect("a query").span_conditions();
    Some(by_any(&conditions)?.iter().map(ToString::to_string).collect())
}

#[test]
fn traces_that_a_condition_names_are_those_that_can_satisfy_it() {
    let (a, b) = (A.to_owned(), B.to_owned());
    assert_eq!(named(&format!("{{ trace:id = \"{A}\" }}")), Some(vec![a.clone()]));
    assert_eq!(named(&format!("{{ trace:id = \"{A}\" && name = \"x\" }}")), Some(vec![a.clone()]));
    let either = format!("(trace:id = \"{A}\" || trace:id = \"{B}\")");
    assert_eq!(named(&format!("{{ {either} }}")), Some(vec![b.clone(), a.clone()]));
    assert_eq!(named(&format!("{{ {either} && trace:id = \"{B}\" }}")), Some(vec![b.clone()]));
    assert_eq!(named(&format!("{{ span.a = 1 }} && {{ trace:id = \"{A}\" }}")), Some(vec![a.clone()]));
    assert_eq!(named(&format!("{{ trace:id = \"{A}\" }} || {{ trace:id = \"{B}\" }}")), Some(vec![b, a]));
}

#[test]
fn an_id_may_be_written_in_any_way_and_what_is_none_is_equal_to_none() {
    for (text, of) in [(A.to_uppercase().as_str(), Some(A)), ("1", Some(B)), ("", None), ("x", None)] {
        let of: Vec<String> = of.into_iter().map(String::from).collect();
        assert_eq!(named(&format!("{{ trace:id = \"{text}\" }}")), Some(of), "{text}");
    }
}

#[test]
fn any_trace_can_satisfy_the_others() {
    for query in [
        "{ }".to_owned(),
        format!("{{ trace:id != \"{A}\" }}"),
        format!("{{ !(trace:id = \"{A}\") }}"),
        format!("{{ trace:id = \"{A}\" || span.a = 1 }}"),
        format!("{{ trace:id = \"{A}\" }} || {{ span.a = 1 }}"),
        format!("{{ trace:id =~ \"{A}\" }}"),
    ] {
        assert_eq!(named(&query), None, "{query}");
    }
}
