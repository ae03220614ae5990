use super::*;
use crate::otlp_file::{Compression, Format, MessageWriter};

const SPAN: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"8b51e36eaee3265bec099d0c5c63fd37","spanId":"517d16044e5eb3ee","name":"n","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}"#;

/// What comes of a stream: spans and gaps, or the error.
fn exported(pieces: Vec<io::Result<Bytes>>) -> Result<(u64, u64), String> {
    let writer = MessageWriter::stream(io::sink(), Format::Jsonl, Compression::None).expect("a sink");
    let (sender, queue) = mpsc::channel(pieces.len().max(1));
    for piece in pieces {
        sender.try_send(piece).expect("room");
    }
    drop(sender);
    let stream = Pieces { queue, piece: Bytes::new() };
    let export = write_all(stream, Export { writer, spans: 0, incomplete: 0 });
    export.map(|export| (export.spans, export.incomplete)).map_err(|failure| failure.to_string())
}

fn cut(text: &str, every: usize) -> Vec<io::Result<Bytes>> {
    text.as_bytes().chunks(every).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

#[test]
fn lines_are_put_together_however_they_arrive() {
    let text = format!("{SPAN}\n{SPAN}\n{{\"resourceSpans\":[]}}\n");
    for every in [1, 7, 64, 10_000] {
        assert_eq!(exported(cut(&text, every)), Ok((2, 0)));
    }
    assert_eq!(exported(Vec::new()), Ok((0, 0)));
}

#[test]
fn a_gap_is_counted_and_an_error_fails_the_export() {
    let gap = format!("{SPAN}\n{{\"resourceSpans\":[],\"partial\":{{\"reason\":\"segment 7\"}}}}\n");
    assert_eq!(exported(cut(&gap, 100)), Ok((1, 1)));
    let error =
        format!("{SPAN}\n{{\"error\":{{\"kind\":\"corrupt\",\"message\":\"segment 7 is damaged\"}}}}\n");
    assert_eq!(
        exported(cut(&error, 100)),
        Err("the server's answer breaks off: segment 7 is damaged".to_owned())
    );
}

#[test]
fn a_stream_that_breaks_off_fails_the_export() {
    let mut pieces = cut(SPAN, 100);
    pieces.push(Err(io::Error::other("connection reset")));
    let reason = "the file cannot be read from here on: connection reset";
    assert_eq!(exported(pieces), Err(format!("the server's answer breaks off: {reason}")));
    assert!(exported(cut(&SPAN[..100], 10)).is_err());
}
