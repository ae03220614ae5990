use tracelake::SpanBatch;
use tracelake::otlp::{DecodeLimits, Decoder};

use super::*;

/// A span of the trace under test: number, parent (0 for none), service, name, start and length in
/// milliseconds, and further members of its JSON.
fn span(id: u32, parent: u32, service: &str, name: &str, start: u64, length: u64, more: &str) -> String {
    const BEGIN: u64 = 1_661_140_339_000;
    let parent = if parent == 0 { String::new() } else { format!("{parent:016x}") };
    let name = serde_json::to_string(name).expect("text");
    format!(
        r#"{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{service}"}}}}]}},"scopeSpans":[{{"spans":[{{"traceId":"8b51e36eaee3265bec099d0c5c63fd37","spanId":"{id:016x}","parentSpanId":"{parent}","name":{name},"startTimeUnixNano":"{}000000","endTimeUnixNano":"{}000000"{more}}}]}}]}}"#,
        BEGIN + start,
        BEGIN + start + length
    )
}

fn batch(spans: &[String]) -> SpanBatch {
    let request = format!(r#"{{"resourceSpans":[{}]}}"#, spans.join(","));
    let decoded =
        Decoder::new().decode_json(request.as_bytes(), &DecodeLimits::default()).expect("a request");
    assert!(decoded.rejections.is_empty());
    decoded.batch
}

fn drawn(spans: &[String], partial: Option<&str>, style: Style) -> String {
    let batch = batch(spans);
    let mut out = Vec::new();
    draw(&mut out, &TraceTree::build(batch.spans()), partial, style).expect("in memory");
    String::from_utf8(out).expect("UTF-8")
}

const PLAIN: Style = Style { width: 90, color: false };

#[test]
fn a_trace_is_a_tree_with_bars_on_one_time_line() {
    let spans = [
        span(1, 0, "frontend", "GET /cart", 0, 100, ""),
        span(2, 1, "cart", "Get", 10, 30, r#","events":[{"name":"retry"},{"name":"hit"}]"#),
        span(3, 2, "redis", "HGET", 15, 5, ""),
        span(4, 2, "redis", "EXPIRE", 21, 1, r#","status":{"code":2,"message":"timed out\nafter 1 ms"}"#),
        span(5, 1, "currency", "Convert", 50, 50, ""),
        span(6, 5, "currency", "round", 99, 0, ""),
    ];
    assert_eq!(
        drawn(&spans, None, PLAIN),
        "\
trace 8b51e36eaee3265bec099d0c5c63fd37
2022-08-22 03:52:19.000000 UTC · 100 ms · 6 spans · 4 services · 1 error
frontend 1 · cart 1 · redis 2 ✗1 · currency 2

                                  0                                                 100 ms
frontend  GET /cart        100 ms ████████████████████████████████████████████████████████
├─ cart  Get  2 events    30.0 ms      ▐████████████████▌
│  ├─ redis  HGET         5.00 ms         ███▌
│  └─ ✗ redis  EXPIRE     1.00 ms            ▐▌
│     ✗ timed out after 1 ms
└─ currency  Convert      50.0 ms                             ████████████████████████████
   └─ currency  round        0 ns                                                        ▏
"
    );
}

#[test]
fn what_is_odd_is_said_where_it_is() {
    let spans = [
        span(2, 9, "cart", "orphan", 0, 10, ""),
        span(3, 4, "cart", "circle", 1, 2, ""),
        span(4, 3, "cart", "circle too", 2, 2, ""),
        span(5, 2, "", "one", 3, 1, ""),
        span(5, 2, "", "other", 4, 1, ""),
    ];
    let lines = |partial: Option<&str>| -> Vec<String> {
        let text = drawn(&spans, partial, PLAIN);
        text.lines().map(str::trim).filter(|line| line.contains('!')).map(str::to_owned).collect()
    };
    // Of a part nobody knows what has not arrived.
    let part = lines(Some("segment 7 is damaged"));
    assert_eq!(part[..2], ["! partial: segment 7 is damaged", "! parents form 1 circle"]);
    assert_eq!(
        lines(None),
        [
            "! the root span has not arrived",
            "! 1 span has a parent that did not arrive",
            "! parents form 1 circle",
            "│  ! its parent 0000000000000009 is not in the trace",
            "│  ! another span has the same ID 0000000000000005 and other content",
            "! another span has the same ID 0000000000000005 and other content",
            "│  ! its parent 0000000000000004 is also below it: cut here",
        ]
    );
}

#[test]
fn a_span_that_ends_before_it_starts_is_told() {
    let odd = span(1, 0, "a", "b", 5, 0, "").replace("339005000000\",\"end", "339009000000\",\"end");
    let text = drawn(&[odd], None, PLAIN);
    assert!(text.contains("! ends 4.00 ms before it starts"), "{text}");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let mut spans = vec![span(1, 0, "frontend", &"長い名前".repeat(50), 0, 100, "")];
    for id in 2..60 {
        let message = format!(r#","status":{{"code":2,"message":"{}"}}"#, "reason ".repeat(40));
        spans.push(span(id, id - 1, &format!("service-{id}"), "é\u{301}x", u64::from(id), 20, &message));
    }
    for width in [0, 40, 41, 80, 133, 400] {
        let text = drawn(&spans, Some(&"gap ".repeat(200)), Style { width, color: false });
        let widest = text.lines().map(UnicodeWidthStr::width).max();
        assert!(widest <= Some(width.max(WIDTH_MIN)), "{widest:?} columns of {width}");
    }
}

#[test]
fn deep_levels_are_counted_instead_of_drawn() {
    let spans: Vec<String> = (1..=40).map(|id| span(id, id - 1, "a", "b", u64::from(id), 1, "")).collect();
    let text = drawn(&spans, None, PLAIN);
    let labels: Vec<&str> =
        text.lines().skip(5).map(|line| line.split("  b").next().unwrap_or(line)).collect();
    assert_eq!(labels[7], format!("{}└─ a", "   ".repeat(6)));
    assert_eq!(labels[8], format!("⋯ +4     {}└─ a", "   ".repeat(3)));
    assert_eq!(labels[39], format!("⋯ +35    {}└─ a", "   ".repeat(3)));
}

#[test]
fn a_chain_of_a_hundred_thousand_spans_is_drawn() {
    let spans: Vec<String> = (1..=100_000).map(|id| span(id, id - 1, "a", "b", 0, 1, "")).collect();
    let batch = {
        let request = format!(r#"{{"resourceSpans":[{}]}}"#, spans.join(","));
        Decoder::new().decode_json(request.as_bytes(), &DecodeLimits::recovery()).expect("a request").batch
    };
    let mut out = Vec::new();
    draw(&mut out, &TraceTree::build(batch.spans()), None, PLAIN).expect("in memory");
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 100_005);
}

#[test]
fn texts_of_spans_cannot_speak_to_the_terminal() {
    let name = "a\x1b[2J\u{202e}b\r\nc\u{9b}d";
    let text = drawn(&[span(1, 0, "s", name, 0, 1, "")], Some("x\x1b]0;y\x07"), PLAIN);
    let is_harmless = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
    assert!(text.chars().all(is_harmless), "{text:?}");
    assert!(text.contains("a\u{fffd}[2J\u{fffd}b  c\u{fffd}d"), "{text:?}");
    assert_eq!(clean(&"x".repeat(1 << 20)).len(), TEXT_CHARS_MAX);
}

#[test]
fn colours_tell_services_and_errors_apart_and_are_left_out_when_not_wanted() {
    let spans =
        [span(1, 0, "frontend", "ok", 0, 10, ""), span(2, 1, "cart", "bad", 1, 1, r#","status":{"code":2}"#)];
    let plain = drawn(&spans, None, PLAIN);
    assert!(!plain.contains('\x1b'));
    let colored = drawn(&spans, None, Style { color: true, ..PLAIN });
    assert!(colored.contains(&format!("\x1b[38;5;{}mfrontend\x1b[0m", color_of(Some("frontend")))));
    assert!(colored.contains("\x1b[31m✗ \x1b[0m"));
    let mut stripped = String::new();
    for (index, part) in colored.split('\x1b').enumerate() {
        stripped.push_str(if index == 0 { part } else { part.split_once('m').expect("a colour").1 });
    }
    assert_eq!(stripped, plain);
}

#[test]
fn a_service_has_the_same_colour_for_good() {
    let services = [Some("frontend"), Some("cart"), Some("checkout"), Some("payment"), None];
    assert_eq!(services.map(color_of), [68, 102, 136, 74, 136]);
}

#[test]
fn many_services_are_listed_and_the_rest_counted() {
    let spans: Vec<String> =
        (1..=60).map(|id| span(id, 0, &format!("service-{id}"), "n", u64::from(id), 1, "")).collect();
    let text = drawn(&spans, None, PLAIN);
    assert!(text.contains("service-40 1") && text.contains("and 20 more services"), "{text}");
}
