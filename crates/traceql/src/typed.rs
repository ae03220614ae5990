//! From expressions to the typed tree: what an expression means, and whether its types can compare.

use crate::QueryError;
use crate::field::{Field, Intrinsic, IntrinsicType};
use crate::predicate::{Comparison, Kind, Literal, Operand, Pattern, Predicate, Status};
use crate::syntax::{BinaryOp, Expr, Node};

/// An expression that is a condition.
pub(crate) fn condition(expr: &Expr) -> Result<Predicate, QueryError> {
    let place = || expr.bytes.clone();
    match &expr.node {
        Node::List { op, parts } => {
            let conditions = parts.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
            let list =
                if *op == BinaryOp::And { Predicate::all(conditions) } else { Predicate::any(conditions) };
            list.check_events_and_links().map_err(|message| QueryError::malformed(place(), message))?;
            Ok(list)
        }
        Node::Binary { op, left, right } => match op {
            BinaryOp::Compare(comparison) => compare(*comparison, left, right, expr),
            BinaryOp::Match { negated } => matching(left, right, *negated),
            _ => Err(QueryError::malformed(place(), "this is a number, and a condition is expected")),
        },
        Node::Not(of) => Ok(Predicate::Not(Box::new(condition(of)?))),
        Node::Word(word) if &**word == "true" => Ok(Predicate::Constant(true)),
        Node::Word(word) if &**word == "false" => Ok(Predicate::Constant(false)),
        Node::Word(word) => Err(unknown_word(word, expr)),
        // An attribute alone: it is true.
        Node::Field(field @ Field::Attribute { .. }) => Ok(Predicate::Compare {
            left: Operand::Field(field.clone()),
            comparison: Comparison::Equal,
            right: Operand::Literal(Literal::Bool(true)),
        }),
        Node::Field(field) => {
            let message = format!("`{field}` alone is no condition: compare it, as in `{field} != nil`");
            Err(QueryError::malformed(place(), message))
        }
        Node::Text(_) | Node::Int(_) | Node::Double(_) | Node::Duration(_) | Node::Minus(_) => {
            Err(QueryError::malformed(place(), "this is a value, and a condition is expected"))
        }
    }
}

const NIL_IS_NO_VALUE: &str = "nil is compared with `=` and `!=` alone, and with a field";

fn unknown_word(word: &str, expr: &Expr) -> QueryError {
    if word == "nil" {
        return QueryError::malformed(expr.bytes.clone(), NIL_IS_NO_VALUE);
    }
    let message = format!(
        "`{word}` is no field: an attribute of any scope is `.{word}`, a span's `span.{word}`, a resource's \
         `resource.{word}`, and a text stands in quotes"
    );
    QueryError::malformed(expr.bytes.clone(), message)
}

fn is_nil(expr: &Expr) -> bool {
    matches!(&expr.node, Node::Word(word) if &**word == "nil")
}

fn compare(comparison: Comparison, left: &Expr, right: &Expr, whole: &Expr) -> Result<Predicate, QueryError> {
    // What is named stands to the right from here on.
    let (left, comparison, right) = match (&left.node, &right.node) {
        (Node::Field(_), _) => (left, comparison, right),
        (_, Node::Field(_)) => (right, comparison.mirrored(), left),
        _ => (left, comparison, right),
    };
    if is_nil(right) || is_nil(left) {
        let Node::Field(field) = &left.node else {
            return Err(QueryError::malformed(whole.bytes.clone(), "only a field can be compared with nil"));
        };
        return match comparison {
            Comparison::NotEqual => Ok(Predicate::Exists(field.clone())),
            Comparison::Equal => Ok(Predicate::Absent(field.clone())),
            _ => Err(QueryError::malformed(whole.bytes.clone(), NIL_IS_NO_VALUE)),
        };
    }
    let (left_operand, left_type) = operand(left, right)?;
    let (right_operand, right_type) = operand(right, left)?;
    check_types(left_type, comparison, right_type)
        .map_err(|message| QueryError::malformed(whole.bytes.clone(), message))?;
    let right_operand = match (&left_operand, right_operand) {
        (Operand::Field(field), Operand::Literal(literal)) => {
            Operand::Literal(of_field(field, comparison, literal))
        }
        (_, other) => other,
    };
    let compare = Predicate::Compare { left: left_operand, comparison, right: right_operand };
    compare
        .check_events_and_links()
        .map_err(|message| QueryError::malformed(whole.bytes.clone(), message))?;
    Ok(compare)
}

/// A literal as the field has it: IDs are written in capitals as well, and without the zeros before them.
pub(crate) fn of_field(field: &Field, comparison: Comparison, literal: Literal) -> Literal {
    let digits = match field {
        Field::Intrinsic(intrinsic) => intrinsic.id_digits(),
        Field::Attribute { .. } => None,
    };
    match (digits, comparison, literal) {
        (Some(digits), Comparison::Equal | Comparison::NotEqual, Literal::Text(text)) => {
            let text = text.to_ascii_lowercase();
            let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            Literal::Text(if is_hex { format!("{text:0>digits$}").into() } else { text.into() })
        }
        (_, _, literal) => literal,
    }
}

/// What is known of a value before there is a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueType {
    /// An attribute can have any.
    Any,
    Text,
    Number,
    Bool,
    Status,
    Kind,
}

impl ValueType {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "an attribute",
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Bool => "true or false",
            Self::Status => "a status: error, ok or unset",
            Self::Kind => "a kind: server, client, internal, producer, consumer or unspecified",
        }
    }

    pub(crate) fn of_field(field: &Field) -> Self {
        match field {
            Field::Attribute { .. } => Self::Any,
            Field::Intrinsic(intrinsic) => match intrinsic.value_type() {
                IntrinsicType::Text => Self::Text,
                IntrinsicType::Duration => Self::Number,
                IntrinsicType::Status => Self::Status,
                IntrinsicType::Kind => Self::Kind,
            },
        }
    }

    pub(crate) fn of_literal(literal: &Literal) -> Self {
        match literal {
            Literal::Text(_) => Self::Text,
            Literal::Int(_) | Literal::Double(_) | Literal::Duration(_) => Self::Number,
            Literal::Bool(_) => Self::Bool,
            Literal::Status(_) => Self::Status,
            Literal::Kind(_) => Self::Kind,
        }
    }
}

/// A comparison that no span can satisfy by its types is a mistake, and not an empty answer.
pub(crate) fn check_types(left: ValueType, comparison: Comparison, right: ValueType) -> Result<(), String> {
    let is_ordered = |value: ValueType| matches!(value, ValueType::Any | ValueType::Text | ValueType::Number);
    if left != ValueType::Any && right != ValueType::Any && left != right {
        return Err(format!("{} and {} are never equal", left.name(), right.name()));
    }
    // An attribute is neither a status nor a kind: it would be its text.
    for (one, other) in [(left, right), (right, left)] {
        if one == ValueType::Any && matches!(other, ValueType::Status | ValueType::Kind) {
            return Err(format!("an attribute is never {}: a text stands in quotes", other.name()));
        }
    }
    let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    let is_comparable = is_equality || is_ordered(left) && is_ordered(right);
    if !is_comparable {
        return Err(format!("`{comparison}` orders texts and numbers alone; this has `=` and `!=`"));
    }
    Ok(())
}

/// One side of a comparison; the other tells what a bare word means.
fn operand(expr: &Expr, other: &Expr) -> Result<(Operand, ValueType), QueryError> {
    let place = || expr.bytes.clone();
    let literal = |literal: Literal| {
        let value_type = ValueType::of_literal(&literal);
        Ok((Operand::Literal(literal), value_type))
    };
    match &expr.node {
        Node::Field(field) => Ok((Operand::Field(field.clone()), ValueType::of_field(field))),
        Node::Text(text) => literal(Literal::Text(text.clone())),
        Node::Int(int) => match i64::try_from(*int) {
            Ok(int) => literal(Literal::Int(int)),
            Err(_) => Err(not_64_bits(expr)),
        },
        Node::Double(double) => literal(Literal::Double(*double)),
        Node::Duration(nanoseconds) => literal(Literal::Duration(*nanoseconds)),
        Node::Word(word) => match word_literal(word, other) {
            Some(found) => literal(found),
            None => Err(unknown_word(word, expr)),
        },
        Node::Minus(of) => {
            // The least integer is none without its sign.
            if let Node::Int(int) = of.node {
                let int = 0i64.checked_sub_unsigned(int).ok_or_else(|| not_64_bits(expr))?;
                return literal(Literal::Int(int));
            }
            let operand = number(of)?;
            let negated = match operand {
                Operand::Literal(Literal::Int(int)) => int.checked_neg().map(Literal::Int),
                Operand::Literal(Literal::Double(double)) => Some(Literal::Double(-double)),
                Operand::Literal(Literal::Duration(duration)) => {
                    duration.checked_neg().map(Literal::Duration)
                }
                _ => None,
            };
            let negated = negated.map_or_else(|| Operand::Negated(Box::new(operand)), Operand::Literal);
            Ok((negated, ValueType::Number))
        }
        Node::Binary { op, left, right } => {
            let BinaryOp::Arithmetic(operation) = *op else { return Err(compared_condition(expr)) };
            let (left, right) = (Box::new(number(left)?), Box::new(number(right)?));
            Ok((Operand::Arithmetic { left, operation, right }, ValueType::Number))
        }
        Node::List { .. } => Err(compared_condition(expr)),
        Node::Not(_) => Err(QueryError::malformed(
            place(),
            "`!` makes a condition of a condition, and is compared with nothing: write `!(…)` around the comparison",
        )),
    }
}

fn not_64_bits(expr: &Expr) -> QueryError {
    QueryError::malformed(expr.bytes.clone(), "this number does not fit into 64 bits")
}

fn compared_condition(expr: &Expr) -> QueryError {
    let message = "a condition is compared with nothing: combine conditions with && and ||";
    QueryError::malformed(expr.bytes.clone(), message)
}

fn word_literal(word: &str, other: &Expr) -> Option<Literal> {
    match word {
        "true" => return Some(Literal::Bool(true)),
        "false" => return Some(Literal::Bool(false)),
        "minInt" => return Some(Literal::Int(i64::MIN)),
        "maxInt" => return Some(Literal::Int(i64::MAX)),
        _ => {}
    }
    // `unset` and `unspecified` differ, so that a word means one of them wherever it stands; what it is compared
    // with only makes the message better.
    let is = |intrinsic| matches!(&other.node, Node::Field(Field::Intrinsic(field)) if *field == intrinsic);
    if is(Intrinsic::Kind) {
        return Kind::of(word).map(Literal::Kind);
    }
    Status::of(word).map(Literal::Status).or_else(|| Kind::of(word).map(Literal::Kind))
}

/// What arithmetic is done with.
fn number(expr: &Expr) -> Result<Operand, QueryError> {
    let (operand, value_type) = operand(expr, expr)?;
    match value_type {
        ValueType::Any | ValueType::Number => Ok(operand),
        other => {
            let message = format!("arithmetic is done with numbers, and this is {}", other.name());
            Err(QueryError::malformed(expr.bytes.clone(), message))
        }
    }
}

fn matching(left: &Expr, right: &Expr, negated: bool) -> Result<Predicate, QueryError> {
    let Node::Field(field) = &left.node else {
        return Err(QueryError::malformed(left.bytes.clone(), "a field stands to the left of `=~` and `!~`"));
    };
    let Node::Text(source) = &right.node else {
        let message = "a regular expression in quotes stands to the right of `=~` and `!~`";
        return Err(QueryError::malformed(right.bytes.clone(), message));
    };
    check_is_text(field).map_err(|message| QueryError::malformed(left.bytes.clone(), message))?;
    let pattern = Pattern::regex(source, right.bytes.clone())?;
    Ok(Predicate::Match { field: field.clone(), pattern, negated })
}

/// Patterns are for texts.
pub(crate) fn check_is_text(field: &Field) -> Result<(), String> {
    match ValueType::of_field(field) {
        ValueType::Any | ValueType::Text => Ok(()),
        other => Err(format!("`{field}` is {}, and only texts are matched", other.name())),
    }
}
