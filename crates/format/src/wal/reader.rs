//! The walk over a file's frames. It hands out every whole frame, goes on behind what is not whole,
//! and says at the end which of that is a torn tail and which is damage.
//!
//! It is fed bytes in pieces of any size and holds one frame at most.

use bytes::{Buf, BytesMut};

use super::frame::{self, MARKER};
use super::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FileSeal, Frame, FrameHeader};

/// More ranges than this are merged into the last: a file full of damage must not fill memory.
const RANGES_MAX: usize = 1024;

/// What [`FrameReader::step`] found.
#[derive(Debug)]
pub enum Step {
    /// A whole frame.
    Frame(Frame),
    /// Feed more, or say that there is no more.
    NeedsMore,
    /// The file is at its end; ask [`FrameReader::finish`].
    End,
}

/// A range of a file in which no whole frame stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins.
    pub at: u64,
    /// Where it ends.
    pub end: u64,
    /// What is wrong there.
    pub what: &'static str,
    /// The frame's header if that is whole: whose spans were there.
    pub header: Option<FrameHeader>,
    /// Whether it was durable once, so that its requests were acknowledged. If not, it may be of the
    /// last group, which a crash interrupted.
    pub acknowledged: bool,
}

/// The end of the newest file that a crash left incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Where to cut.
    pub at: u64,
    /// Where the file ends.
    pub end: u64,
    /// The incomplete frames whose headers are whole.
    pub headers: Vec<FrameHeader>,
}

/// What a file's place among the others says about its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileRole {
    /// A crash may have interrupted its last group.
    Newest,
    /// Its successor was begun when it was complete, and says how long it was if that can be read.
    Sealed {
        /// Its length in bytes.
        bytes: Option<u64>,
    },
}

/// The verdict on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEnd {
    /// The file's length without torn tail and trailing zeros.
    pub bytes: u64,
    /// What has to be cut off.
    pub torn: Option<TornTail>,
    /// What is damaged, in the order of the file.
    pub damage: Vec<Damage>,
}

/// Walks one file's frames.
#[derive(Debug)]
pub struct FrameReader {
    seal: FileSeal,
    /// Unread bytes, the first of them at `offset`.
    buffer: BytesMut,
    offset: u64,
    ended: bool,
    /// Where the search for the next frame began, and why.
    lost: Option<(u64, &'static str)>,
    /// End of the last byte that is not zero since then.
    nonzero_end: u64,
    ranges: Vec<Damage>,
    /// Where the last whole frame begins.
    whole_at: Option<u64>,
    /// How much of the file is known to have been durable.
    durable_bytes: u64,
}

impl FrameReader {
    /// A reader of the file with this header. The first byte to feed is the one behind the header.
    pub fn new(header: &FileHeader) -> Self {
        Self {
            seal: FileSeal::new(header),
            buffer: BytesMut::new(),
            offset: FILE_HEADER_BYTES as u64,
            ended: false,
            lost: None,
            nonzero_end: 0,
            ranges: Vec::new(),
            whole_at: None,
            durable_bytes: 0,
        }
    }

    /// The next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Says that there are no more.
    pub fn feed_end(&mut self) {
        self.ended = true;
    }

    /// The next whole frame.
    pub fn step(&mut self) -> Step {
        loop {
            if let Some((from, what)) = self.lost {
                match self.resynchronise() {
                    Some(true) => {
                        self.lost = None;
                        self.record(from, self.offset, what, None);
                    }
                    Some(false) => return Step::End,
                    None => return Step::NeedsMore,
                }
            }
            if self.buffer.len() < FRAME_HEADER_BYTES && !self.ended {
                return Step::NeedsMore;
            }
            if self.buffer.is_empty() {
                return Step::End;
            }
            let header = match frame::decode_frame_header(self.seal, self.offset, &self.buffer) {
                Ok(header) => header,
                Err(what) => {
                    self.lost = Some((self.offset, what));
                    self.nonzero_end = self.offset;
                    self.skip(1);
                    continue;
                }
            };
            // The header has its checksum, so the length is what was written, and no frame begins
            // within it, whatever the payload looks like.
            let frame_bytes = FRAME_HEADER_BYTES + header.stored_bytes as usize;
            if self.buffer.len() < frame_bytes && !self.ended {
                return Step::NeedsMore;
            }
            self.durable_bytes = self.durable_bytes.max(header.group.durable_bytes);
            let at = self.offset;
            if self.buffer.len() < frame_bytes {
                let end = at + self.buffer.len() as u64;
                self.consume(self.buffer.len());
                self.record(at, end, "the file ends within the frame's payload", Some(header));
                return Step::End;
            }
            self.consume(FRAME_HEADER_BYTES);
            let stored = self.buffer.split_to(header.stored_bytes as usize).freeze();
            self.offset += u64::from(header.stored_bytes);
            match frame::decode_payload(self.seal, at, &header, stored) {
                Ok(payload) => {
                    self.whole_at = Some(at);
                    return Step::Frame(Frame {
                        meta: header.meta,
                        group: header.group,
                        offset: at,
                        payload,
                    });
                }
                Err(what) => self.record(at, self.offset, what, Some(header)),
            }
        }
    }

    /// The verdict, once [`Step::End`] has come.
    pub fn finish(mut self, role: FileRole) -> FileEnd {
        let mut bytes = self.offset + self.buffer.len() as u64;
        if let Some((from, what)) = self.lost {
            if self.nonzero_end > from {
                self.record(from, bytes, what, None);
            } else {
                bytes = from;
            }
        }
        match role {
            FileRole::Newest => {
                // Behind a range that was never durable and has no whole frame after it, all are such.
                let (durable, whole) = (self.durable_bytes, self.whole_at.unwrap_or(0));
                let torn_from = self.ranges.partition_point(|range| range.at < durable || range.at < whole);
                let torn_ranges = self.ranges.split_off(torn_from);
                let torn = torn_ranges.first().map(|first| TornTail {
                    at: first.at,
                    end: bytes,
                    headers: torn_ranges.iter().filter_map(|range| range.header.clone()).collect(),
                });
                for range in &mut self.ranges {
                    range.acknowledged = range.at < durable;
                }
                FileEnd { bytes: torn.as_ref().map_or(bytes, |torn| torn.at), torn, damage: self.ranges }
            }
            FileRole::Sealed { bytes: sealed } => {
                // What lies behind the length that was recorded was judged a torn tail then.
                self.ranges.retain(|range| sealed.is_none_or(|sealed| range.at < sealed));
                if let Some(sealed) = sealed.filter(|sealed| *sealed > bytes) {
                    self.record(bytes, sealed, "the file was longer when its successor was begun", None);
                }
                for range in &mut self.ranges {
                    range.acknowledged = true;
                }
                FileEnd { bytes, torn: None, damage: self.ranges }
            }
        }
    }

    /// Looks for the next frame header. Some(true): it is at `offset`; Some(false): there is none up
    /// to the end; None: needs more.
    fn resynchronise(&mut self) -> Option<bool> {
        loop {
            let candidate = self.buffer.iter().position(|byte| *byte == MARKER[0]);
            self.skip(candidate.unwrap_or(self.buffer.len()));
            if self.buffer.len() < FRAME_HEADER_BYTES {
                if !self.ended {
                    return None;
                }
                self.skip(self.buffer.len());
                return Some(false);
            }
            if frame::decode_frame_header(self.seal, self.offset, &self.buffer).is_ok() {
                return Some(true);
            }
            self.skip(1);
        }
    }

    /// Passes over bytes that are of no whole frame.
    fn skip(&mut self, count: usize) {
        let skipped = self.buffer.get(..count).unwrap_or_default();
        if let Some(last) = skipped.iter().rposition(|byte| *byte != 0) {
            self.nonzero_end = self.offset + last as u64 + 1;
        }
        self.consume(count);
    }

    fn consume(&mut self, count: usize) {
        self.buffer.advance(count);
        self.offset += count as u64;
    }

    fn record(&mut self, at: u64, end: u64, what: &'static str, header: Option<FrameHeader>) {
        if self.ranges.len() == RANGES_MAX
            && let Some(last) = self.ranges.last_mut()
        {
            *last = Damage {
                end,
                what: "many ranges are damaged, merged into one",
                header: None,
                ..last.clone()
            };
            return;
        }
        self.ranges.push(Damage { at, end, what, header, acknowledged: false });
    }
}
