//! Reads the messages of a file one by one, in memory bounded by the largest message allowed.
//!
//! A message that cannot be taken is an entry like any other, with its number and the reason; only
//! what makes the rest unreadable ends the file early.

use std::io::{self, BufRead, BufReader, Read};

use super::detect::{Container, Framing, HEAD_BYTES, UTF8_BOM, ZSTD_MAGIC, container_of, framing_of};

/// Buffer of a decompressor's output: large enough that a call costs nothing.
const BUFFER_BYTES: usize = 256 << 10;

/// Base-2 logarithm of the most memory that a zstd file may ask for its window: 128 MiB, what
/// `zstd` itself reads without being told.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Most bytes of a base-128 length. Longer ones are no length that a file could have.
const VARINT_BYTES_MAX: usize = 5;

/// A message's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    Json(&'a [u8]),
    Protobuf(&'a [u8]),
}

/// What stands at one place of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// A message.
    Message(Payload<'a>),
    /// Something that is left out, and why.
    Skipped(String),
}

/// Reads messages one by one.
pub(crate) struct MessageReader<'r> {
    input: Box<dyn BufRead + Send + 'r>,
    framing: Framing,
    message_bytes_max: u64,
    buffer: Vec<u8>,
    unpacked: Vec<u8>,
    number: u64,
    ended: bool,
}

impl<'r> MessageReader<'r> {
    /// Looks at the first bytes of `input` and reads it as what they say. Messages longer than
    /// `message_bytes_max` are left out, without being held in memory.
    ///
    /// # Errors
    /// If the input cannot be read, or is no OTLP file.
    pub(crate) fn open(input: impl Read + Send + 'r, message_bytes_max: u64) -> io::Result<Self> {
        let (head, input) = peek(BufReader::with_capacity(BUFFER_BYTES, input))?;
        let input: Box<dyn BufRead + Send + 'r> = match container_of(&head) {
            Container::Plain => Box::new(input),
            Container::Gzip => Box::new(buffered(flate2::bufread::MultiGzDecoder::new(input))),
            Container::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(buffered(decoder))
            }
        };
        let (head, mut input) = peek(input)?;
        let Some(framing) = framing_of(&head) else {
            return Err(io::Error::other(
                "neither OTLP JSON lines nor protobuf messages with their length in front",
            ));
        };
        if framing == Framing::Lines && head.starts_with(&UTF8_BOM) {
            input.consume(UTF8_BOM.len());
        }
        Ok(Self {
            input: Box::new(input),
            framing,
            message_bytes_max,
            buffer: Vec::new(),
            unpacked: Vec::new(),
            number: 0,
            ended: false,
        })
    }

    /// Where the entry is that was read last: `12` (the line) or `message 12`, from 1.
    pub(crate) fn place(&self) -> String {
        match self.framing {
            Framing::Lines => self.number.to_string(),
            Framing::Varint | Framing::Fixed32 => format!("message {}", self.number),
        }
    }

    /// Room taken for messages, for tests.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity() + self.unpacked.capacity()
    }

    /// The next entry; none at the end. Empty lines and empty messages are passed over, and counted.
    pub(crate) fn next(&mut self) -> Option<Entry<'_>> {
        loop {
            if self.ended {
                return None;
            }
            self.number += 1;
            let read = match self.framing {
                Framing::Lines => self.read_line(),
                Framing::Varint | Framing::Fixed32 => self.read_message(),
            };
            match read {
                Ok(Outcome::End) => self.ended = true,
                Ok(Outcome::Whole) if self.buffer.trim_ascii().is_empty() => {}
                Ok(Outcome::Whole) => return Some(self.unpack()),
                Ok(Outcome::Skipped(reason)) => return Some(Entry::Skipped(reason)),
                Err(error) => {
                    self.ended = true;
                    return Some(Entry::Skipped(format!("the file cannot be read from here on: {error}")));
                }
            }
        }
    }

    /// What is in the buffer, decompressed if it is compressed by itself.
    fn unpack(&mut self) -> Entry<'_> {
        let mut bytes = &self.buffer;
        if self.framing != Framing::Lines && bytes.starts_with(&ZSTD_MAGIC) {
            self.unpacked.clear();
            let unpacked =
                zstd::stream::read::Decoder::with_buffer(bytes.as_slice()).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                    decoder.take(self.message_bytes_max + 1).read_to_end(&mut self.unpacked)
                });
            match unpacked {
                Err(error) => return Entry::Skipped(format!("the message cannot be decompressed: {error}")),
                Ok(length) if length as u64 > self.message_bytes_max => {
                    self.unpacked = Vec::new();
                    let reason =
                        format!("the message is longer than {} bytes decompressed", self.message_bytes_max);
                    return Entry::Skipped(reason);
                }
                Ok(_) => bytes = &self.unpacked,
            }
        }
        // In protobuf `{` would be the start of a group, which OTLP has none of.
        let is_json = self.framing == Framing::Lines || bytes.trim_ascii_start().first() == Some(&b'{');
        Entry::Message(if is_json { Payload::Json(bytes.trim_ascii()) } else { Payload::Protobuf(bytes) })
    }

    fn read_line(&mut self) -> io::Result<Outcome> {
        self.buffer.clear();
        let mut length = 0_u64;
        loop {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if available.is_empty() && length == 0 {
                return Ok(Outcome::End);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let piece = &available[..end.unwrap_or(available.len())];
            length += piece.len() as u64;
            if length <= self.message_bytes_max {
                self.buffer.extend_from_slice(piece);
            } else {
                self.buffer = Vec::new();
            }
            let used = piece.len() + usize::from(end.is_some());
            let is_whole = end.is_some() || available.is_empty();
            self.input.consume(used);
            if is_whole {
                break;
            }
        }
        Ok(self.within_limit(length))
    }

    fn read_message(&mut self) -> io::Result<Outcome> {
        let length = match self.framing {
            Framing::Fixed32 => self.read_fixed_length()?,
            Framing::Lines | Framing::Varint => self.read_varint_length()?,
        };
        let length = match length {
            Length::Of(length) => length,
            Length::End => return Ok(Outcome::End),
            Length::Bad(reason) => {
                self.ended = true;
                return Ok(Outcome::Skipped(reason.to_owned()));
            }
        };
        self.buffer.clear();
        // No room is made before the bytes are there: the length may be damaged.
        let body = self.input.by_ref().take(length);
        let read = if length > self.message_bytes_max {
            self.buffer = Vec::new();
            io::copy(&mut { body }, &mut io::sink())?
        } else {
            { body }.read_to_end(&mut self.buffer)? as u64
        };
        if read < length {
            self.ended = true;
            return Ok(Outcome::Skipped(format!(
                "the file ends after {read} of the message's {length} bytes"
            )));
        }
        Ok(self.within_limit(length))
    }

    fn within_limit(&self, length: u64) -> Outcome {
        if length <= self.message_bytes_max {
            return Outcome::Whole;
        }
        Outcome::Skipped(format!(
            "{length} bytes, more than the {} that are read at once",
            self.message_bytes_max
        ))
    }

    fn read_fixed_length(&mut self) -> io::Result<Length> {
        let mut bytes = Vec::with_capacity(4);
        self.input.by_ref().take(4).read_to_end(&mut bytes)?;
        Ok(match bytes.try_into() {
            Ok(bytes) => Length::Of(u64::from(u32::from_be_bytes(bytes))),
            Err(bytes) if bytes.is_empty() => Length::End,
            Err(_) => Length::Bad("the file ends within a message's length"),
        })
    }

    fn read_varint_length(&mut self) -> io::Result<Length> {
        let mut length = 0_u64;
        for index in 0..VARINT_BYTES_MAX {
            let mut byte = Vec::with_capacity(1);
            self.input.by_ref().take(1).read_to_end(&mut byte)?;
            let Some(byte) = byte.first() else {
                let cut = Length::Bad("the file ends within a message's length");
                return Ok(if index == 0 { Length::End } else { cut });
            };
            length |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(Length::Of(length));
            }
        }
        Ok(Length::Bad("what should be a message's length is none: the file is damaged from here on"))
    }
}

impl std::fmt::Debug for MessageReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageReader")
            .field("framing", &self.framing)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// What reading one message came to.
enum Outcome {
    /// It is in the buffer.
    Whole,
    Skipped(String),
    End,
}

enum Length {
    Of(u64),
    End,
    Bad(&'static str),
}

fn buffered(input: impl Read) -> impl BufRead {
    BufReader::with_capacity(BUFFER_BYTES, input)
}

/// An input whose first bytes were read, with those in front again.
type Peeked<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

/// The first bytes, and the input as if they had not been read.
fn peek<R: BufRead>(mut input: R) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    input.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok((head.clone(), io::Cursor::new(head).chain(input)))
}
