//! The tree from JSON: `{"field","op","value"}`, `{"and":[…]}`, `{"or":[…]}`, `{"not":…}`.
//!
//! A field is written as in TraceQL, a key without quotes whatever it has in it. Values have JSON's types; a text
//! is a duration, a status or a kind where the field is one.

use serde_json::{Map, Value};
use tracelake_model::limits;

use crate::QueryError;
use crate::field::{Field, Intrinsic};
use crate::lexer::OF_PARENT;
use crate::parse::parse_duration;
use crate::predicate::{Comparison, Kind, Literal, Operand, Pattern, Predicate, Status};
use crate::typed::{ValueType, check_is_text, check_types, of_field};

/// Reads a condition on a span; `path` names where in its document it stands.
///
/// # Errors
/// If it is malformed, or larger than a query may be.
pub fn from_json(value: &Value, path: &str) -> Result<Predicate, QueryError> {
    let mut reader = Reader { conditions: 0, patterns: 0, bytes: 0 };
    reader.condition(value, path, 0)
}

fn malformed(path: &str, message: impl Into<String>) -> QueryError {
    QueryError::malformed(0..0, message).at_path(path)
}

fn too_large(path: &str, message: String) -> QueryError {
    QueryError::too_large(0..0, message).at_path(path)
}

/// What there has been so far.
struct Reader {
    conditions: u64,
    patterns: u64,
    /// Of all texts.
    bytes: u64,
}

impl Reader {
    fn count_conditions(&mut self, more: usize, path: &str) -> Result<(), QueryError> {
        self.conditions = self.conditions.saturating_add(more as u64);
        if self.conditions <= limits::QUERY_WORDS_MAX {
            return Ok(());
        }
        Err(too_large(path, format!("a query has at most {} conditions and values", limits::QUERY_WORDS_MAX)))
    }

    fn count_pattern(&mut self, path: &str) -> Result<(), QueryError> {
        self.patterns += 1;
        if self.patterns <= limits::QUERY_PATTERNS_MAX {
            return Ok(());
        }
        Err(too_large(
            path,
            format!("a query has at most {} regular expressions", limits::QUERY_PATTERNS_MAX),
        ))
    }

    /// Of a text; other values have none.
    fn count_bytes(&mut self, value: &Value, path: &str) -> Result<(), QueryError> {
        self.bytes = self.bytes.saturating_add(value.as_str().map_or(0, str::len) as u64);
        if self.bytes <= limits::QUERY_BYTES_MAX {
            return Ok(());
        }
        Err(too_large(path, format!("the texts of a query have at most {} bytes", limits::QUERY_BYTES_MAX)))
    }

    fn condition(&mut self, value: &Value, path: &str, depth: u64) -> Result<Predicate, QueryError> {
        if depth >= limits::QUERY_DEPTH_MAX {
            return Err(too_large(
                path,
                format!("a query is nested at most {} deep", limits::QUERY_DEPTH_MAX),
            ));
        }
        self.count_conditions(1, path)?;
        let Value::Object(object) = value else {
            return Err(malformed(
                path,
                "a condition is an object with field, op and value, or and, or, not",
            ));
        };
        let mut names = object.keys().map(String::as_str);
        match (names.next(), names.next()) {
            (Some(name @ ("and" | "or")), None) => {
                let list = object.get(name).and_then(Value::as_array).filter(|list| !list.is_empty());
                let path = format!("{path}.{name}");
                let list = list.ok_or_else(|| malformed(&path, "a list of conditions is expected here"))?;
                let conditions = list.iter().enumerate();
                let conditions =
                    conditions.map(|(at, one)| self.condition(one, &format!("{path}[{at}]"), depth + 1));
                let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
                let joined =
                    if name == "and" { Predicate::all(conditions) } else { Predicate::any(conditions) };
                joined.check_events_and_links().map_err(|message| malformed(&path, message))?;
                Ok(joined)
            }
            (Some("not"), None) => {
                let of = object.get("not").unwrap_or(&Value::Null);
                Ok(Predicate::Not(Box::new(self.condition(of, &format!("{path}.not"), depth + 1)?)))
            }
            _ => self.leaf(object, path),
        }
    }

    fn leaf(&mut self, object: &Map<String, Value>, path: &str) -> Result<Predicate, QueryError> {
        if let Some(other) = object.keys().find(|name| !["field", "op", "value"].contains(&name.as_str())) {
            let message = format!(
                "`{other}` is not known: a condition has field, op and value, or one of and, or, not"
            );
            return Err(malformed(path, message));
        }
        let field = self.field(object, path)?;
        let op = object.get("op").and_then(Value::as_str);
        let op =
            op.ok_or_else(|| malformed(&format!("{path}.op"), "an operator is expected here, as in \"=\""))?;
        let value = object.get("value");
        let value_path = format!("{path}.value");
        self.count_bytes(value.unwrap_or(&Value::Null), &value_path)?;
        if op == "exists" {
            return match value {
                None | Some(Value::Bool(true)) => Ok(Predicate::Exists(field)),
                Some(Value::Bool(false)) => Ok(Predicate::Absent(field)),
                Some(_) => Err(malformed(&value_path, "`exists` has true, false or no value")),
            };
        }
        let value = value.ok_or_else(|| malformed(&value_path, format!("`{op}` needs a value")))?;
        let text = || value.as_str().ok_or_else(|| malformed(&value_path, format!("`{op}` needs a text")));
        let matching = |pattern, negated| {
            check_is_text(&field).map_err(|message| malformed(&format!("{path}.field"), message))?;
            Ok(Predicate::Match { field: field.clone(), pattern, negated })
        };
        match op {
            "=~" | "!~" => {
                self.count_pattern(&value_path)?;
                let pattern = Pattern::regex(text()?, 0..0).map_err(|error| error.at_path(&value_path))?;
                matching(pattern, op == "!~")
            }
            "prefix" => matching(Pattern::Prefix(text()?.into()), false),
            "contains" => matching(Pattern::Contains(text()?.into()), false),
            "in" => {
                let values = value.as_array().filter(|values| !values.is_empty());
                let values = values.ok_or_else(|| malformed(&value_path, "`in` needs a list of values"))?;
                self.count_conditions(values.len(), &value_path)?;
                let equal = values.iter().enumerate().map(|(at, value)| {
                    let path = format!("{value_path}[{at}]");
                    self.count_bytes(value, &path)?;
                    compare(&field, Comparison::Equal, value, &path)
                });
                Ok(Predicate::any(equal.collect::<Result<Vec<_>, _>>()?))
            }
            _ => match Comparison::of(op) {
                Some(comparison) => compare(&field, comparison, value, &value_path),
                None => {
                    let message = format!(
                        "`{op}` is no operator: there are = != > >= < <= =~ !~ prefix contains exists in"
                    );
                    Err(malformed(&format!("{path}.op"), message))
                }
            },
        }
    }

    fn field(&mut self, object: &Map<String, Value>, path: &str) -> Result<Field, QueryError> {
        let path = format!("{path}.field");
        let value = object.get("field").unwrap_or(&Value::Null);
        self.count_bytes(value, &path)?;
        let name = value.as_str().ok_or_else(|| malformed(&path, "a field's name is expected here"))?;
        if Intrinsic::is_unsupported(name) || name.starts_with(OF_PARENT) {
            return Err(QueryError::unsupported(0..0, &format!("`{name}`")).at_path(&path));
        }
        Field::of_text(name).ok_or_else(|| {
            let message = format!(
                "`{name}` is no field: an attribute of any scope is `.{name}`, a span's `span.{name}`, a \
                 resource's `resource.{name}`"
            );
            malformed(&path, message)
        })
    }
}

fn compare(
    field: &Field,
    comparison: Comparison,
    value: &Value,
    path: &str,
) -> Result<Predicate, QueryError> {
    if value.is_null() {
        return match comparison {
            Comparison::Equal => Ok(Predicate::Absent(field.clone())),
            Comparison::NotEqual => Ok(Predicate::Exists(field.clone())),
            _ => Err(malformed(path, "null is compared with `=` and `!=` alone")),
        };
    }
    let field_type = ValueType::of_field(field);
    let literal = literal(value, field_type, path)?;
    check_types(field_type, comparison, ValueType::of_literal(&literal))
        .map_err(|message| malformed(path, message))?;
    let literal = of_field(field, comparison, literal);
    let (left, right) = (Operand::Field(field.clone()), Operand::Literal(literal));
    Ok(Predicate::Compare { left, comparison, right })
}

fn literal(value: &Value, field: ValueType, path: &str) -> Result<Literal, QueryError> {
    let missed = |what: &str| malformed(path, format!("{what} is expected here"));
    Ok(match value {
        Value::String(text) => match field {
            ValueType::Number => {
                Literal::Duration(parse_duration(text).ok_or_else(|| missed("a duration such as \"300ms\""))?)
            }
            ValueType::Status => {
                Literal::Status(Status::of(text).ok_or_else(|| missed("error, ok or unset"))?)
            }
            ValueType::Kind => Literal::Kind(
                Kind::of(text)
                    .ok_or_else(|| missed("server, client, internal, producer, consumer or unspecified"))?,
            ),
            _ => Literal::Text(text.as_str().into()),
        },
        Value::Bool(value) => Literal::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => Literal::Int(int),
            // An integer beyond 64 bits would become another number.
            (None, Some(double)) if number.is_f64() && double.is_finite() => Literal::Double(double),
            _ => return Err(malformed(path, "this number does not fit into 64 bits")),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => {
            return Err(malformed(path, "a text, a number, true, false or null is expected here"));
        }
    })
}

#[cfg(test)]
mod tests;
