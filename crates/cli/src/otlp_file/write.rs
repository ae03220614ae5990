//! Writes messages to a file or to standard output. A file appears under its name only when it is
//! whole: what was interrupted cannot be taken for it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// How messages follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// OTLP JSON, one request a line.
    Jsonl,
    /// OTLP protobuf, each request behind its base-128 length.
    Protobuf,
}

/// How the whole file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Level of zstd: its own default, as a file is written once and moved about.
const ZSTD_LEVEL: i32 = 3;

impl Compression {
    /// By the suffix of a name.
    pub(crate) fn of_path(path: &Path) -> Self {
        match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            _ => Self::None,
        }
    }
}

impl Format {
    /// By the suffix of a name, a compression's suffix aside; JSON lines if it says nothing.
    pub(crate) fn of_path(path: &Path) -> Self {
        let stem = match Compression::of_path(path) {
            Compression::None => path.to_owned(),
            Compression::Gzip | Compression::Zstd => path.with_extension(""),
        };
        match stem.extension().and_then(|suffix| suffix.to_str()) {
            Some("pb" | "binpb" | "proto" | "protobuf") => Self::Protobuf,
            _ => Self::Jsonl,
        }
    }
}

/// Writes messages one by one.
pub(crate) struct MessageWriter {
    sink: Sink,
    format: Format,
    /// The name under which the file is being written, and the one that it gets.
    pending: Option<(PathBuf, PathBuf)>,
}

enum Sink {
    Plain(BufWriter<Out>),
    Gzip(flate2::write::GzEncoder<BufWriter<Out>>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<Out>>),
}

/// Where the bytes end up.
enum Out {
    File(File),
    Stream(Box<dyn Write + Send>),
}

impl MessageWriter {
    /// To a file, which replaces one of the same name when it is whole. Through a link the file that
    /// it leads to is replaced; what is no file (`/dev/stdout`, a named pipe) is written to as it is.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub(crate) fn create(path: &Path, format: Format, compression: Compression) -> io::Result<Self> {
        let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => {
                return Self::stream(File::options().write(true).open(path)?, format, compression);
            }
            Ok(_) | Err(_) => {}
        }
        let mut name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(name);
        let file = File::options().write(true).create_new(true).open(&partial)?;
        let mut writer = Self::to(Out::File(file), format, compression)?;
        writer.pending = Some((partial, path.to_owned()));
        Ok(writer)
    }

    /// To a stream, such as standard output.
    ///
    /// # Errors
    /// If the compressor cannot start.
    pub(crate) fn stream(
        out: impl Write + Send + 'static,
        format: Format,
        compression: Compression,
    ) -> io::Result<Self> {
        Self::to(Out::Stream(Box::new(out)), format, compression)
    }

    fn to(out: Out, format: Format, compression: Compression) -> io::Result<Self> {
        let out = BufWriter::with_capacity(256 << 10, out);
        let sink = match compression {
            Compression::None => Sink::Plain(out),
            Compression::Gzip => {
                Sink::Gzip(flate2::write::GzEncoder::new(out, flate2::Compression::default()))
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Sink::Zstd(encoder)
            }
        };
        Ok(Self { sink, format, pending: None })
    }

    /// The encoding that messages must have.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Writes one message. JSON must not hold line feeds.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&mut self, message: &[u8]) -> io::Result<()> {
        match self.format {
            Format::Jsonl => {
                self.sink.write_all(message)?;
                self.sink.write_all(b"\n")
            }
            Format::Protobuf => {
                let mut length = message.len() as u64;
                let mut bytes = [0; 10];
                let mut used = 0;
                while length >= 0x80 {
                    bytes[used] = length as u8 | 0x80;
                    length >>= 7;
                    used += 1;
                }
                bytes[used] = length as u8;
                self.sink.write_all(&bytes[..=used])?;
                self.sink.write_all(message)
            }
        }
    }

    /// Ends the file: all of it is on disk when this returns.
    ///
    /// # Errors
    /// If it cannot be written; the file then does not get its name.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let sink =
            std::mem::replace(&mut self.sink, Sink::Plain(BufWriter::new(Out::Stream(Box::new(io::sink())))));
        let out = match sink {
            Sink::Plain(out) => out,
            Sink::Gzip(encoder) => encoder.finish()?,
            Sink::Zstd(encoder) => encoder.finish()?,
        };
        match out.into_inner().map_err(io::IntoInnerError::into_error)? {
            Out::File(file) => file.sync_all()?,
            Out::Stream(mut stream) => stream.flush()?,
        }
        if let Some((partial, path)) = self.pending.take() {
            std::fs::rename(&partial, &path).inspect_err(|_| remove(&partial))?;
        }
        Ok(())
    }
}

impl Drop for MessageWriter {
    fn drop(&mut self) {
        if let Some((partial, _)) = &self.pending {
            remove(partial);
        }
    }
}

fn remove(partial: &Path) {
    if let Err(error) = std::fs::remove_file(partial) {
        eprintln!("warning: {} is left over and can be removed: {error}", partial.display());
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stream(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Stream(stream) => stream.flush(),
        }
    }
}

impl std::fmt::Debug for MessageWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageWriter")
            .field("format", &self.format)
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}
