use std::io::{self, Read, Write};
use std::path::Path;

use super::detect::{Container, Framing, HEAD_BYTES, container_of, framing_of};
use super::*;

/// What a reader says about a file, one text an entry: `place: json …`, `place: protobuf n` or
/// `place: !reason`.
fn read_with_limit(file: &[u8], limit: u64) -> Vec<String> {
    let mut reader = match MessageReader::open(file, limit) {
        Ok(reader) => reader,
        Err(error) => return vec![format!("!{error}")],
    };
    let mut entries = Vec::new();
    while let Some(entry) = reader.next() {
        let text = match entry {
            Entry::Message(Payload::Json(bytes)) => format!("json {}", String::from_utf8_lossy(bytes)),
            Entry::Message(Payload::Protobuf(bytes)) => format!("protobuf {}", bytes.len()),
            Entry::Skipped(reason) => format!("!{reason}"),
        };
        entries.push(format!("{}: {text}", reader.place()));
    }
    assert!(reader.next().is_none(), "the end stays the end");
    entries
}

fn read(file: &[u8]) -> Vec<String> {
    read_with_limit(file, 1 << 20)
}

/// A request with one resource of a name that long, as protobuf.
fn request(name_bytes: usize) -> Vec<u8> {
    let field = |tag: u8, body: Vec<u8>| {
        let mut bytes = vec![tag];
        let mut length = body.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(body);
        bytes
    };
    // ResourceSpans.schema_url
    field(0x0a, field(0x1a, vec![b'x'; name_bytes]))
}

fn written(format: Format, compression: Compression, messages: &[Vec<u8>]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out");
    let mut writer = MessageWriter::create(&path, format, compression).expect("a file");
    for message in messages {
        writer.write(message).expect("written");
    }
    assert!(!path.exists(), "a file that is not whole has no name");
    writer.finish().expect("whole");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left over");
    std::fs::read(&path).expect("a file")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).expect("in memory")
}

fn fixed32(messages: &[Vec<u8>]) -> Vec<u8> {
    messages
        .iter()
        .flat_map(|message| [&(message.len() as u32).to_be_bytes()[..], message].concat())
        .collect()
}

#[test]
fn what_is_written_reads_back_in_every_format_and_compression() {
    let lines: Vec<Vec<u8>> =
        (0..300).map(|i| format!(r#"{{"resourceSpans":[{i}]}}"#).into_bytes()).collect();
    // Lengths around those where the base-128 length, or its first byte's meaning as text, changes.
    let messages: Vec<Vec<u8>> =
        [119, 6, 7, 0, 5, 120, 122, 123, 124, 300, 16_380, 70_000].map(request).into();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let file = written(Format::Jsonl, compression, &lines);
        let expected: Vec<String> =
            (1..=300).map(|i| format!("{i}: json {{\"resourceSpans\":[{}]}}", i - 1)).collect();
        assert_eq!(read(&file), expected, "{compression:?}");

        let file = written(Format::Protobuf, compression, &messages);
        let expected: Vec<String> =
            messages.iter().zip(1..).map(|(m, i)| format!("message {i}: protobuf {}", m.len())).collect();
        assert_eq!(read(&file), expected, "{compression:?}");
    }
}

#[test]
fn a_protobuf_file_is_one_whatever_its_first_length() {
    for name_bytes in 0..400 {
        let message = request(name_bytes);
        let file = written(Format::Protobuf, Compression::None, &[message.clone(), request(9)]);
        let framing = framing_of(&file[..file.len().min(HEAD_BYTES)]);
        assert_eq!(framing, Some(Framing::Varint), "{name_bytes}");
        let file = fixed32(&[message, request(9)]);
        let framing = framing_of(&file[..file.len().min(HEAD_BYTES)]);
        assert_eq!(framing, Some(Framing::Fixed32), "{name_bytes}");
    }
}

#[test]
fn text_that_could_be_a_length_is_text() {
    for text in [
        "{}",
        "\n\n{\"resourceSpans\":[]}",
        "\n{\n  \"resourceSpans\": []\n}",
        "{\n  \"resourceSpans\": []\n}",
        "{\n\t\"resourceSpans\": []\n}",
        "\r\n{}",
        "not json at all",
        "\u{feff}{}",
        "",
        " \n",
    ] {
        assert_eq!(framing_of(text.as_bytes()), Some(Framing::Lines), "{text:?}");
    }
    // A character of several bytes across the end of what is looked at.
    let cut = "a".repeat(HEAD_BYTES - 1) + "é";
    assert_eq!(framing_of(&cut.as_bytes()[..HEAD_BYTES]), Some(Framing::Lines));
}

#[test]
fn what_is_no_otlp_file_is_refused() {
    for file in [&b"\x7fELF\x02\x01\x01\0\0\0"[..], b"PAR1\x15\0\x15\x02", b"\xff\xfe{\0}\0", b"{\0"] {
        assert_eq!(read(file), ["!neither OTLP JSON lines nor protobuf messages with their length in front"]);
    }
    assert_eq!(container_of(b"\x1f"), Container::Plain);
}

#[test]
fn bad_lines_keep_their_numbers_and_the_rest_is_read() {
    let file = b"\xef\xbb\xbf{\"a\":1}\r\n\n  \n{broken\n{\"b\":2}";
    assert_eq!(read(file), ["1: json {\"a\":1}", "4: json {broken", "5: json {\"b\":2}"]);
}

#[test]
fn members_and_frames_that_follow_each_other_are_one_file() {
    let (first, second) = (&b"{\"a\":1}\n{\"b\""[..], &b":2}\n"[..]);
    for file in [[gzip(first), gzip(second)].concat(), [zstd(first), zstd(second)].concat()] {
        assert_eq!(read(&file), ["1: json {\"a\":1}", "2: json {\"b\":2}"]);
    }
}

#[test]
fn the_collectors_own_framing_is_read() {
    let json = br#"{"resourceSpans":[]}"#.to_vec();
    assert_eq!(
        read(&fixed32(&[request(5), request(500)])),
        ["message 1: protobuf 9", "message 2: protobuf 506"]
    );
    assert_eq!(
        read(&fixed32(&[zstd(&json), zstd(&request(5)), json])),
        [
            r#"message 1: json {"resourceSpans":[]}"#,
            "message 2: protobuf 9",
            r#"message 3: json {"resourceSpans":[]}"#
        ]
    );
}

#[test]
fn a_message_that_decompresses_to_too_much_is_left_out() {
    let bomb = zstd(&vec![b'{'; 4 << 20]);
    let entries = read(&fixed32(&[bomb, request(5)]));
    assert_eq!(
        entries,
        ["message 1: !the message is longer than 1048576 bytes decompressed", "message 2: protobuf 9"]
    );
}

#[test]
fn truncated_files_say_where_they_end() {
    let cut = |mut file: Vec<u8>, by: usize| {
        file.truncate(file.len() - by);
        read(&file)
    };
    let messages = [request(300), request(300)];
    let varint = written(Format::Protobuf, Compression::None, &messages);
    assert_eq!(
        cut(varint.clone(), 10),
        ["message 1: protobuf 306", "message 2: !the file ends after 296 of the message's 306 bytes"]
    );
    // Only one of the two bytes of the second length is left.
    assert_eq!(
        cut(varint, 307),
        ["message 1: protobuf 306", "message 2: !the file ends within a message's length"]
    );
    let fixed = fixed32(&messages);
    assert_eq!(
        cut(fixed, 307),
        ["message 1: protobuf 306", "message 2: !the file ends within a message's length"]
    );
    // Incompressible, so that cutting the compressed file cuts the text about as far.
    let lines: String =
        (0..40_000_u64).map(|i| format!("{{\"{:x}\":1}}\n", i.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    for file in [gzip(lines.as_bytes()), zstd(lines.as_bytes())] {
        let keep = file.len() / 2;
        let entries = cut(file, keep);
        let (last, whole) = entries.split_last().expect("some entries");
        assert!(last.contains(": !the file cannot be read from here on: "), "{last}");
        assert!(whole.len() > 5_000 && whole.len() < 40_000, "{} lines before the cut", whole.len());
        assert!(whole.iter().zip(lines.lines()).all(|(entry, line)| entry.ends_with(line)));
    }
}

#[test]
fn a_damaged_length_ends_the_file() {
    let mut file = written(Format::Protobuf, Compression::None, &[request(5)]);
    file.extend([0xff; 12]);
    assert_eq!(
        read(&file),
        [
            "message 1: protobuf 9",
            "message 2: !what should be a message's length is none: the file is damaged from here on"
        ]
    );
    // One that is only too large: as many bytes are passed over, and the file has fewer.
    let mut file = written(Format::Protobuf, Compression::None, &[request(5)]);
    file.extend([0xff, 0xff, 0xff, 0x7f, 1, 2, 3]);
    assert_eq!(read(&file)[1], "message 2: !the file ends after 3 of the message's 268435455 bytes");
}

/// A stream that is made up as it is read: a line of a gigabyte costs nothing to test.
struct Lines {
    pieces: Vec<(u64, u8)>,
}

impl Read for Lines {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some((left, byte)) = self.pieces.first_mut() else { return Ok(0) };
        let length = into.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        into[..length].fill(*byte);
        *left -= length as u64;
        if *left == 0 {
            self.pieces.remove(0);
        }
        Ok(length)
    }
}

#[test]
fn a_huge_line_is_passed_over_without_being_held() {
    let input = Lines { pieces: vec![(10, b'a'), (1, b'\n'), (1 << 30, b'b'), (1, b'\n'), (5, b'c')] };
    let mut reader = MessageReader::open(input, 1 << 20).expect("text");
    assert_eq!(reader.next(), Some(Entry::Message(Payload::Json(b"aaaaaaaaaa"))));
    let reason = "1073741824 bytes, more than the 1048576 that are read at once".to_owned();
    assert_eq!(reader.next(), Some(Entry::Skipped(reason)));
    assert_eq!((reader.place(), reader.capacity() <= 2 << 20), ("2".to_owned(), true));
    assert_eq!(reader.next(), Some(Entry::Message(Payload::Json(b"ccccc"))));
    assert_eq!(reader.next(), None);
}

#[test]
fn the_limit_itself_is_allowed() {
    let file = b"1234\n12345\n1234";
    let reason = "5 bytes, more than the 4 that are read at once";
    assert_eq!(
        read_with_limit(file, 4),
        ["1: json 1234".to_owned(), format!("2: !{reason}"), "3: json 1234".into()]
    );
}

#[test]
fn the_name_says_how_to_write() {
    for (name, format, compression) in [
        ("a.jsonl", Format::Jsonl, Compression::None),
        ("a.json.gz", Format::Jsonl, Compression::Gzip),
        ("a.pb.zst", Format::Protobuf, Compression::Zstd),
        ("a.binpb", Format::Protobuf, Compression::None),
        ("a", Format::Jsonl, Compression::None),
        ("a.zst", Format::Jsonl, Compression::Zstd),
    ] {
        let path = Path::new(name);
        assert_eq!((Format::of_path(path), Compression::of_path(path)), (format, compression), "{name}");
    }
}

#[test]
fn an_interrupted_file_leaves_nothing_and_the_old_one_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.jsonl");
    std::fs::write(&path, "old").expect("written");
    let mut writer = MessageWriter::create(&path, Format::Jsonl, Compression::None).expect("a file");
    writer.write(b"{}").expect("written");
    drop(writer);
    assert_eq!(std::fs::read_to_string(&path).expect("the old file"), "old");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn what_is_no_file_is_written_to_and_not_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    std::fs::write(&file, "old").expect("written");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    let mut writer = MessageWriter::create(&link, Format::Jsonl, Compression::None).expect("a file");
    writer.write(b"{}").expect("written");
    writer.finish().expect("whole");
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "{}\n");
    assert!(link.is_symlink());

    let device = folder.path().join("device");
    std::os::unix::fs::symlink("/dev/null", &device).expect("a link");
    let mut writer = MessageWriter::create(&device, Format::Jsonl, Compression::None).expect("a device");
    writer.write(b"{}").expect("written");
    writer.finish().expect("whole");
    assert!(std::fs::metadata("/dev/null").is_ok_and(|metadata| !metadata.is_file()));

    assert!(MessageWriter::create(folder.path(), Format::Jsonl, Compression::None).is_err());
}
