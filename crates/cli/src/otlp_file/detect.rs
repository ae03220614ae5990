//! What a file is, by its first bytes.

/// Bytes that are looked at. Enough for a length, the outermost message's tag and length, and the
/// first tag inside.
pub(super) const HEAD_BYTES: usize = 64;

/// How a whole file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Plain,
    Gzip,
    Zstd,
}

/// How messages follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// One a line.
    Lines,
    /// Behind a base-128 length.
    Varint,
    /// Behind a length of four bytes, most significant first.
    Fixed32,
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
pub(super) const UTF8_BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Field 1, a message: `resource_spans` of every OTLP request.
const TAG_RESOURCE_SPANS: u8 = 0x0a;

pub(super) fn container_of(head: &[u8]) -> Container {
    if head.starts_with(&GZIP_MAGIC) {
        Container::Gzip
    } else if head.starts_with(&ZSTD_MAGIC) {
        Container::Zstd
    } else {
        Container::Plain
    }
}

/// The framing of an uncompressed file; none if it is no OTLP file.
///
/// A length can look like text (123 is `{`, 10 is a line feed), so the lengths of two nested
/// messages have to fit into each other before a file is taken for protobuf.
pub(super) fn framing_of(head: &[u8]) -> Option<Framing> {
    if starts_with_varint_message(head) {
        return Some(Framing::Varint);
    }
    if let Some((length, message)) = head.split_first_chunk::<4>() {
        let length = u64::from(u32::from_be_bytes(*length));
        let is_json = message.first() == Some(&b'{');
        if length > 0 && (is_json || message.starts_with(&ZSTD_MAGIC) || is_request(message, length)) {
            return Some(Framing::Fixed32);
        }
    }
    // Requests without spans are empty messages: nothing but a length of 0.
    let after_empty = head.iter().position(|byte| *byte != 0).unwrap_or(head.len());
    if after_empty > 0 && (after_empty == head.len() || starts_with_varint_message(&head[after_empty..])) {
        return Some(Framing::Varint);
    }
    is_text(head).then_some(Framing::Lines)
}

fn starts_with_varint_message(head: &[u8]) -> bool {
    read_varint(head).is_some_and(|(length, message)| is_request(message, length))
}

/// Whether `message`, cut off anywhere, can be the start of an OTLP request of that length.
fn is_request(message: &[u8], length: u64) -> bool {
    let Some((&TAG_RESOURCE_SPANS, rest)) = message.split_first() else { return false };
    let Some((inner_length, inner)) = read_varint(rest) else { return false };
    let header = 1 + (rest.len() - inner.len()) as u64;
    let fits = header.checked_add(inner_length).is_some_and(|end| end <= length);
    // `resource`, `scope_spans` or `schema_url`.
    fits && (inner_length == 0 || matches!(inner.first(), Some(0x0a | 0x12 | 0x1a)))
}

/// The base-128 number at the start, and what is behind it.
fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character that the end of the head cuts is none of the file's.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
}
