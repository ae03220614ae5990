//! A query that is refused, with the place in it that is meant: its line and what is below it, or its path in JSON.

use tracelake::ErrorKind;
use tracelake::traceql::QueryError;

use crate::rejection::Rejection;

/// What is wrong may be said at length, as of a regular expression. It is cut rather than the place below it.
const MESSAGE_BYTES_MAX: usize = 400;

pub(super) fn rejection(error: &QueryError) -> Rejection {
    Rejection::new(ErrorKind::Invalid, underlined(error))
}

fn underlined(error: &QueryError) -> String {
    let text = error.to_string();
    if error.message.len() <= MESSAGE_BYTES_MAX {
        return text;
    }
    let end = error.message.floor_char_boundary(MESSAGE_BYTES_MAX);
    let message = error.message.get(..end).unwrap_or_default();
    let place = text.strip_prefix(error.message.as_str()).unwrap_or_default();
    format!("{message}…{place}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tracelake::traceql::{from_json, parse};

    use super::*;

    #[test]
    fn the_place_stands_below_the_message() {
        let error = parse("{ name = \"a\" && duration > }").expect_err("nothing to compare with");
        let text = underlined(&error);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "  { name = \"a\" && duration > }", "{text}");
        let marked = lines[2].find('^').expect("a mark");
        assert!(marked >= "  { name = \"a\" && duration ".len(), "{text}");
        assert!(lines[2].trim().chars().all(|c| c == '^'), "{text}");
        assert_eq!(lines.len(), 3, "{text}");
    }

    #[test]
    fn the_place_is_there_however_long_the_message_is() {
        let pattern = "(".repeat(2_000);
        let error = parse(&format!("{{ name =~ \"{pattern}\" }}")).expect_err("no expression");
        assert!(error.message.len() > MESSAGE_BYTES_MAX, "{error}");
        let rejection = rejection(&error);
        assert!(rejection.message().trim_end().ends_with('^'), "{}", rejection.message());
        assert!(rejection.message().contains('…'));
    }

    #[test]
    fn in_json_it_is_a_path() {
        let tree = json!({"or": [{"field": "name", "op": "=", "value": 5}]});
        let error = from_json(&tree, "where").expect_err("a name is a text");
        assert!(underlined(&error).ends_with("(at where.or[0].value)"), "{error}");
    }
}
