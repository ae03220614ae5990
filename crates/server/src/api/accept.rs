//! What an Accept header asks for: which of the two encodings of a trace, and whether an answer as lines.

use http::HeaderMap;
use http::header::ACCEPT;
use tracelake::Encoding;

/// The encoding that is wanted most; JSON where both are wanted alike. `None` if neither is wanted.
pub(super) fn wanted(headers: &HeaderMap) -> Option<Encoding> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        return Some(Encoding::Json);
    }
    let json = weight(&ranges, &["application/json"]);
    let protobuf = weight(&ranges, &["application/x-protobuf", "application/protobuf"]);
    if json.max(protobuf) <= 0.0 {
        None
    } else if protobuf > json {
        Some(Encoding::Protobuf)
    } else {
        Some(Encoding::Json)
    }
}

/// Whether JSON is wanted a line each rather than as one document, which it is where both are wanted alike. `None`
/// if neither is wanted.
pub(super) fn wants_lines(headers: &HeaderMap) -> Option<bool> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        return Some(false);
    }
    let document = weight(&ranges, &["application/json"]);
    let lines = weight(&ranges, &["application/x-ndjson", "application/ndjson"]);
    (document.max(lines) > 0.0).then_some(lines > document)
}

fn ranges(headers: &HeaderMap) -> Vec<(String, f32)> {
    headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(parse).collect()
}

/// Each range with its weight; a weight that cannot be read counts as 1.
fn parse(value: &str) -> impl Iterator<Item = (String, f32)> {
    value.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some((name, weight.and_then(|weight| weight.parse().ok()).unwrap_or(1.0)))
    })
}

/// The weight of the most specific range that covers one of the media types.
fn weight(ranges: &[(String, f32)], media_types: &[&str]) -> f32 {
    let of = |wanted: &[&str]| {
        let covering = ranges.iter().filter(|(name, _)| wanted.contains(&name.as_str()));
        covering.map(|(_, weight)| *weight).reduce(f32::max)
    };
    of(media_types).or_else(|| of(&["application/*"])).or_else(|| of(&["*/*"])).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_encoding_with_the_greater_weight_wins_and_json_a_tie() {
        let cases = [
            ("", Some(Encoding::Json)),
            ("*/*", Some(Encoding::Json)),
            ("application/json", Some(Encoding::Json)),
            ("application/x-protobuf", Some(Encoding::Protobuf)),
            ("application/protobuf", Some(Encoding::Protobuf)),
            ("Application/X-Protobuf", Some(Encoding::Protobuf)),
            ("application/protobuf, */*;q=0.5", Some(Encoding::Protobuf)),
            ("application/json;q=0.2, application/protobuf;q=0.3", Some(Encoding::Protobuf)),
            ("application/json, application/protobuf", Some(Encoding::Json)),
            ("application/json;q=0, */*", Some(Encoding::Protobuf)),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Encoding::Json)),
            ("application/json;charset=utf-8;q=0.9, application/x-protobuf;q=0.1", Some(Encoding::Json)),
            ("text/html", None),
            ("*/*;q=0", None),
        ];
        for (value, expected) in cases {
            let mut headers = HeaderMap::new();
            if !value.is_empty() {
                headers.insert(ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(wanted(&headers), expected, "{value}");
        }
    }
    #[test]
    fn lines_come_only_to_who_prefers_them() {
        for (value, expected) in [
            ("", Some(false)),
            ("*/*", Some(false)),
            ("application/json", Some(false)),
            ("application/x-ndjson", Some(true)),
            ("application/x-ndjson, */*;q=0.1", Some(true)),
            ("application/x-ndjson, application/json", Some(false)),
            ("application/x-ndjson;q=0", None),
            ("text/html", None),
        ] {
            let mut headers = HeaderMap::new();
            if !value.is_empty() {
                headers.insert(ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(wants_lines(&headers), expected, "{value}");
        }
    }
}
