use proptest::prelude::*;

use super::*;
use crate::field::{AttributeScope, Field, Intrinsic};
use crate::predicate::{Arithmetic, Comparison};

fn field() -> impl Strategy<Value = Field> {
    let scope = prop::sample::select(vec![
        AttributeScope::Any,
        AttributeScope::Span,
        AttributeScope::Resource,
        AttributeScope::Event,
        AttributeScope::Link,
        AttributeScope::Instrumentation,
    ]);
    let key = prop_oneof!["[a-z0-9.\\-/\" =\\\\\\n{}é]{1,6}", Just("parent.x".to_owned())];
    (scope, key).prop_map(|(scope, key)| Field::attribute(scope, &key))
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![any::<String>().prop_map(|text| Literal::Text(text.into())), number()]
}

fn number() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<i64>().prop_map(Literal::Int),
        Just(Literal::Int(i64::MIN)),
        any::<f64>().prop_filter("a number", |double| double.is_finite()).prop_map(Literal::Double),
        (i64::MIN + 1..).prop_map(Literal::Duration),
    ]
}

fn comparison() -> impl Strategy<Value = Comparison> {
    prop::sample::select(vec![
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
    ])
}

fn operand() -> impl Strategy<Value = Operand> {
    let leaf = prop_oneof![
        field().prop_map(Operand::Field),
        number().prop_map(Operand::Literal),
        Just(Operand::Field(Field::Intrinsic(Intrinsic::Duration))),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let operation = prop::sample::select(vec![
            Arithmetic::Add,
            Arithmetic::Subtract,
            Arithmetic::Multiply,
            Arithmetic::Divide,
            Arithmetic::Remainder,
            Arithmetic::Power,
        ]);
        let is_folded = |of: &Operand| matches!(of, Operand::Literal(of) if *of != Literal::Int(i64::MIN));
        let negated = inner.clone().prop_filter("folded", move |of| !is_folded(of));
        prop_oneof![
            (inner.clone(), operation, inner).prop_map(|(left, operation, right)| Operand::Arithmetic {
                left: Box::new(left),
                operation,
                right: Box::new(right),
            }),
            negated.prop_map(|of| Operand::Negated(Box::new(of))),
        ]
    })
}

fn predicate() -> impl Strategy<Value = Predicate> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Predicate::Constant),
        (field(), comparison(), literal()).prop_map(|(field, comparison, literal)| Predicate::Compare {
            left: Operand::Field(field),
            comparison,
            right: Operand::Literal(literal),
        }),
        (field(), comparison(), operand()).prop_map(|(field, comparison, right)| Predicate::Compare {
            left: Operand::Field(field),
            comparison,
            right,
        }),
        (field(), any::<bool>()).prop_map(|(field, negated)| Predicate::Match {
            field,
            pattern: Pattern::regex("a|\"b\\d+", 0..0).expect("an expression"),
            negated,
        }),
        field().prop_map(Predicate::Exists),
        field().prop_map(Predicate::Absent),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Predicate::all(vec![a, b])),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Predicate::any(vec![a, b])),
            inner.prop_map(|of| Predicate::Not(Box::new(of))),
        ]
    })
    .prop_filter("an event and a link", |predicate| !is_refused(predicate))
}

fn is_refused(predicate: &Predicate) -> bool {
    let within = match predicate {
        Predicate::And(all) | Predicate::Or(all) => all.iter().any(is_refused),
        Predicate::Not(of) => is_refused(of),
        _ => false,
    };
    within || predicate.check_events_and_links().is_err()
}

proptest! {
    #[test]
    fn what_is_printed_reads_as_the_same(a in predicate(), b in predicate(), c in predicate()) {
        let [a, b, c] = [a, b, c].map(TracePredicate::AnySpan);
        for query in [a.clone(), a.clone().and(b.clone()).or(c.clone()), a.and(b.or(c))] {
            let text = query.to_string();
            let read = crate::parse(&text);
            prop_assert_eq!(read.map_err(|error| error.to_string()), Ok(query), "{}", text);
        }
    }

    #[test]
    fn no_text_is_too_odd_to_be_refused(text in "[ -~]{0,40}|[{}()=~!<>&|^,\"`.a-c0-9 é\\\\]{0,40}") {
        crate::fuzzing::query(text.as_bytes());
    }
}
