//! The one file that is being written: where it ends, what of it is durable, and how an append that
//! failed is taken back.

use std::io::{self, IoSlice};
use std::sync::Arc;

use tracelake_format::wal::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FileSeal, FrameGroup, FrameMeta, StoredPayload,
    encode_file_header, encode_frame_header,
};

use super::FramePosition;
use super::WalError;
use super::error::is_disk_full;
use crate::env::{FileHandle, Files};

/// Space is reserved this far ahead at first: what an idle store takes of the disk.
const RESERVE_BYTES_MIN: u64 = 1 << 20;
/// Each time twice as much, up to this: one call per some 18,000 spans.
const RESERVE_BYTES_MAX: u64 = 8 << 20;

/// A file that is open for appending.
#[derive(Debug)]
pub(super) struct LogFile {
    handle: Box<dyn FileHandle>,
    sequence: u64,
    seal: FileSeal,
    /// Length of what is good: whole frames.
    bytes: u64,
    /// Length of what is durable.
    durable_bytes: u64,
    reserved_bytes: u64,
    /// How far ahead the next time.
    reserve_next: u64,
}

/// Why something was not written.
#[derive(Debug)]
pub(super) enum Failure {
    /// No space; the file is as it was before.
    Full(io::Error),
    /// Another error; the file is as it was before.
    Refused(io::Error),
    /// What is in the file is not known.
    Poison(String),
}

impl LogFile {
    /// Makes the file and its header durable.
    pub(super) fn create(
        files: &dyn Files,
        path: &std::path::Path,
        header: &FileHeader,
    ) -> Result<Self, Failure> {
        let handle = files.create(path).map_err(Failure::of)?;
        let seal = FileSeal::new(header);
        let mut file = Self {
            handle,
            sequence: header.sequence,
            seal,
            bytes: 0,
            durable_bytes: 0,
            reserved_bytes: 0,
            reserve_next: RESERVE_BYTES_MIN,
        };
        file.append(&mut [IoSlice::new(&encode_file_header(header))], FILE_HEADER_BYTES as u64)?;
        file.sync()?;
        Ok(file)
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes frames of one group, all or none, one behind the other. `cuts` are those of [`FrameGroup`].
    pub(super) fn write(
        &mut self,
        frames: &[(&FrameMeta, StoredPayload<'_>)],
        cuts: [bool; 2],
    ) -> Result<Vec<FramePosition>, Failure> {
        let mut headers = Vec::with_capacity(frames.len());
        let mut positions = Vec::with_capacity(frames.len());
        let mut offset = self.bytes;
        let group = FrameGroup { durable_bytes: self.durable_bytes, cuts };
        for (meta, payload) in frames {
            let header = encode_frame_header(self.seal, offset, group, meta, *payload)
                .map_err(|error| Failure::Refused(io::Error::other(error)))?;
            headers.push(header);
            let bytes = (FRAME_HEADER_BYTES + payload.stored.len()) as u64;
            positions.push(FramePosition { sequence: self.sequence, offset, bytes });
            offset += bytes;
        }
        let mut parts = Vec::with_capacity(frames.len() * 2);
        for (header, (_, payload)) in headers.iter().zip(frames) {
            parts.push(IoSlice::new(header));
            parts.push(IoSlice::new(payload.stored));
        }
        self.append(&mut parts, offset)?;
        Ok(positions)
    }

    fn append(&mut self, parts: &mut [IoSlice<'_>], end: u64) -> Result<(), Failure> {
        let written = self.reserve(end).and_then(|()| self.handle.append(parts));
        if let Err(error) = written {
            return Err(self.take_back(error));
        }
        self.bytes = end;
        Ok(())
    }

    fn reserve(&mut self, end: u64) -> io::Result<()> {
        if end <= self.reserved_bytes {
            return Ok(());
        }
        let ahead = end.saturating_add(self.reserve_next);
        let reserved = match self.handle.reserve(self.bytes, ahead) {
            Ok(()) => {
                self.reserve_next = (self.reserve_next * 2).min(RESERVE_BYTES_MAX);
                ahead
            }
            // On a disk that is nearly full just what is needed.
            Err(error) if is_disk_full(&error) => {
                self.handle.reserve(self.bytes, end)?;
                end
            }
            Err(error) => return Err(error),
        };
        self.reserved_bytes = reserved;
        Ok(())
    }

    /// Whether there is space for more than the next few requests.
    pub(super) fn has_space(&mut self) -> bool {
        self.reserve(self.bytes + RESERVE_BYTES_MAX).is_ok()
    }

    fn take_back(&mut self, error: io::Error) -> Failure {
        match self.trim() {
            Ok(()) => Failure::of(error),
            Err(cut) => {
                Failure::Poison(format!("writing failed ({error}) and could not be taken back ({cut})"))
            }
        }
    }

    /// Makes everything written durable.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        self.handle.sync().map_err(|error| Failure::Poison(format!("fsync failed: {error}")))?;
        self.durable_bytes = self.bytes;
        Ok(())
    }

    /// Cuts off what is not whole, and gives back what was reserved.
    pub(super) fn trim(&mut self) -> io::Result<()> {
        self.reserved_bytes = 0;
        self.handle.truncate(self.bytes)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full(error) | Self::Refused(error) => error.fmt(f),
            Self::Poison(reason) => f.write_str(reason),
        }
    }
}

impl Failure {
    pub(super) fn into_error(self) -> WalError {
        match self {
            Self::Full(error) => WalError::DiskFull { source: Arc::new(error) },
            Self::Refused(error) => WalError::Write { source: Arc::new(error) },
            Self::Poison(reason) => WalError::Poisoned { reason },
        }
    }

    pub(super) fn of(error: io::Error) -> Self {
        if is_disk_full(&error) { Self::Full(error) } else { Self::Refused(error) }
    }
}
