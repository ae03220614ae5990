//! A socket that counts what it has read, and gives up when its other end reads nothing for too
//! long: HTTP/1 has no other way to notice a client that asks and never takes the answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// See the module.
#[derive(Debug)]
pub(super) struct Watched<S> {
    inner: S,
    bytes_read: Arc<AtomicU64>,
    write_stall_max: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    /// With the counter of what it reads.
    pub(super) fn new(inner: S, write_stall_max: Duration) -> (Self, Arc<AtomicU64>) {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let watched = Self { inner, bytes_read: Arc::clone(&bytes_read), write_stall_max, stalled: None };
        (watched, bytes_read)
    }

    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.write_stall_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        stalled
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let bytes = buffer.filled().len().saturating_sub(before);
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (near, _far) = tokio::io::duplex(10);
        let (mut watched, _) = Watched::new(near, LIMIT);
        watched.write_all(&[0; 10]).await.expect("there is room");
        let error = watched.write_all(&[0; 1]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_is_served_for_as_long_as_it_takes() {
        let (near, mut far) = tokio::io::duplex(10);
        let (mut watched, bytes_read) = Watched::new(near, LIMIT);
        let reading = tokio::spawn(async move {
            far.write_all(&[1; 7]).await.expect("there is room");
            let mut total = 0;
            while total < 100 {
                tokio::time::sleep(LIMIT * 9 / 10).await;
                total += far.read(&mut [0; 10]).await.expect("open");
            }
        });
        watched.read_exact(&mut [0; 7]).await.expect("sent");
        assert_eq!(bytes_read.load(Ordering::Relaxed), 7);
        watched.write_all(&[0; 100]).await.expect("it reads on");
        reading.await.expect("no panic");
    }
}
