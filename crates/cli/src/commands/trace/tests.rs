use super::*;

#[test]
fn what_is_missing_is_said_in_the_servers_words() {
    for (body, text) in [
        (r#"{"resourceSpans":[],"partial":{"reason":"segment 7 is damaged"}}"#, "segment 7 is damaged"),
        (r#"{"resourceSpans":[],"partial":"too many spans"}"#, "too many spans"),
        (r#"{"partial":{"message":"cut","spans":5}}"#, "cut; spans: 5"),
        (r#"{"resourceSpans":[]}"#, "the server does not say what is missing"),
    ] {
        assert_eq!(partial_text(body.as_bytes()), text);
    }
}
