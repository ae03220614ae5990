//! The tree as TraceQL: what was understood, with every parenthesis that it needs.
//!
//! What TraceQL has no operator for is written with another: a prefix as a regular expression.

use std::fmt::{self, Display, Formatter, Write};

use crate::predicate::{Literal, Operand, Pattern, Predicate, TracePredicate};

/// A text between double quotes.
pub(crate) struct Quoted<'t>(pub(crate) &'t str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                '\r' => f.write_str("\\r")?,
                control if control.is_control() => write!(f, "\\u{:04x}", u32::from(control))?,
                other => f.write_char(other)?,
            }
        }
        f.write_char('"')
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => Quoted(text).fmt(f),
            Self::Int(int) => int.fmt(f),
            // With a point or an exponent, which tell it from an integer.
            Self::Double(double) => write!(f, "{double:?}"),
            Self::Bool(value) => value.fmt(f),
            Self::Duration(nanoseconds) => duration(*nanoseconds, f),
            Self::Status(status) => f.write_str(status.name()),
            Self::Kind(kind) => f.write_str(kind.name()),
        }
    }
}

/// In the largest unit in which it is a whole number, up to hours: days and years may not be what was meant.
fn duration(nanoseconds: i64, f: &mut Formatter<'_>) -> fmt::Result {
    const UNITS: [(&str, i64); 5] = [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ];
    let unit = UNITS.iter().find(|(_, unit)| nanoseconds != 0 && nanoseconds % unit == 0);
    let (name, unit) = unit.copied().unwrap_or(("ns", 1));
    write!(f, "{}{name}", nanoseconds / unit)
}

impl Display for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Regex { source, .. } => Quoted(source).fmt(f),
            Self::Prefix(prefix) => Quoted(&format!("{}(?s:.*)", regex::escape(prefix))).fmt(f),
            Self::Contains(part) => Quoted(&format!("(?s:.*){}(?s:.*)", regex::escape(part))).fmt(f),
        }
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => field.fmt(f),
            Self::Literal(literal) => literal.fmt(f),
            Self::Arithmetic { left, operation, right } => {
                write!(f, "({} {operation} {})", Part(left), Part(right))
            }
            Self::Negated(of) => write!(f, "(-{})", Part(of)),
        }
    }
}

/// What arithmetic is done with. A sign binds less tightly than `^`: -2 ^ 2 is -4.
struct Part<'o>(&'o Operand);

impl Display for Part<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let has_sign = match self.0 {
            Operand::Literal(Literal::Int(int) | Literal::Duration(int)) => *int < 0,
            Operand::Literal(Literal::Double(double)) => double.is_sign_negative(),
            _ => false,
        };
        if has_sign { write!(f, "({})", self.0) } else { self.0.fmt(f) }
    }
}

/// Whether it needs no parentheses wherever it stands.
fn is_alone(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::And(all) | Predicate::Or(all) => all.len() < 2 && all.iter().all(is_alone),
        _ => true,
    }
}

fn joined<T>(
    all: &[T],
    symbol: &str,
    empty: &str,
    f: &mut Formatter<'_>,
    one: impl Fn(&T, &mut Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    if all.is_empty() {
        return f.write_str(empty);
    }
    for (at, part) in all.iter().enumerate() {
        if at > 0 {
            write!(f, " {symbol} ")?;
        }
        one(part, f)?;
    }
    Ok(())
}

impl Display for Predicate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let grouped = |part: &Self, f: &mut Formatter<'_>| {
            if is_alone(part) { part.fmt(f) } else { write!(f, "({part})") }
        };
        match self {
            Self::Constant(value) => value.fmt(f),
            Self::Compare { left, comparison, right } => write!(f, "{left} {comparison} {right}"),
            Self::Match { field, pattern, negated } => {
                write!(f, "{field} {} {pattern}", if *negated { "!~" } else { "=~" })
            }
            Self::Exists(field) => write!(f, "{field} != nil"),
            Self::And(all) => joined(all, "&&", "true", f, grouped),
            Self::Or(all) => joined(all, "||", "false", f, grouped),
            Self::Absent(field) => write!(f, "{field} = nil"),
            Self::Not(of) => write!(f, "!({of})"),
        }
    }
}

impl Display for TracePredicate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let grouped = |part: &Self, f: &mut Formatter<'_>| match part {
            Self::And(all) | Self::Or(all) if all.len() > 1 => write!(f, "({part})"),
            _ => part.fmt(f),
        };
        match self {
            Self::AnySpan(Predicate::Constant(true)) => f.write_str("{ }"),
            Self::AnySpan(predicate) => write!(f, "{{ {predicate} }}"),
            Self::And(all) => joined(all, "&&", "{ }", f, grouped),
            Self::Or(all) => joined(all, "||", "{ false }", f, grouped),
            Self::Not(of) => write!(f, "!({of})"),
        }
    }
}

#[cfg(test)]
mod tests;
