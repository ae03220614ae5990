//! Pieces of an answer that are sent together.

use bytes::{Bytes, BytesMut};

/// Pieces of an answer, joined: each that is sent wakes two tasks, and most traces are small.
#[derive(Default)]
pub(super) struct Lines(BytesMut);

impl Lines {
    /// So many bytes are sent, or somewhat more.
    const JOINED_BYTES: usize = 64 << 10;

    /// Gives what is to be sent once it is enough.
    pub(super) fn add(&mut self, piece: &[u8]) -> Option<Bytes> {
        self.0.extend_from_slice(piece);
        if self.0.len() < Self::JOINED_BYTES { None } else { self.take() }
    }

    /// What has not been sent yet, if anything.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        if self.0.is_empty() { None } else { Some(self.0.split().freeze()) }
    }
}

/// The same of pieces that are all there, as they are asked for.
pub(super) fn joined(
    pieces: impl Iterator<Item = Bytes> + Send + 'static,
) -> impl Iterator<Item = Bytes> + Send + 'static {
    let (mut pieces, mut lines) = (pieces.fuse(), Lines::default());
    std::iter::from_fn(move || {
        for piece in pieces.by_ref() {
            if let Some(joined) = lines.add(&piece) {
                return Some(joined);
            }
        }
        lines.take()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_come_together_and_none_is_lost() {
        let pieces = std::iter::repeat_n(Bytes::from_static(&[b'x'; 1_000]), 100);
        let joined: Vec<Bytes> = joined(pieces).collect();
        assert_eq!(joined.len(), 2);
        assert_eq!(joined.iter().map(Bytes::len).sum::<usize>(), 100_000);
    }
}
