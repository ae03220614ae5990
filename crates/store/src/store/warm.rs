//! After a start: what lookups and searches need of segments is read before anybody asks for it, the newest first. The
//! filters of all, those of trace IDs before those of values; then the metadata of as many as fill half of its cache,
//! and what their indexes say of fields and traces. Nothing waits for it: whoever comes earlier reads what it needs
//! itself, and a search does without filters of values.

use std::sync::PoisonError;

use futures::StreamExt;
use tracelake_format::manifest::SegmentEntry;

use super::Store;
use crate::StoreError;

/// Fewer than may be read at once, so that lookups find a place beside it.
const FILTERS_AT_ONCE: usize = 8;

/// What is read in advance leaves as much of a cache for what is asked for.
const LOADED_PART: u64 = 2;

#[derive(Debug, Clone, Copy)]
enum Filter {
    TraceIds,
    Values,
}

impl Store {
    pub(super) fn spawn_loader(&self) {
        let store = self.clone();
        self.segments().set_loading(true);
        let task = tokio::spawn(async move {
            let mut stopping = store.inner.flusher.signals.stopping.subscribe();
            tokio::select! {
                () = store.load_in_advance() => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
            store.segments().set_loading(false);
        });
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    async fn load_in_advance(&self) {
        let manifest = self.snapshot().manifest;
        let mut entries = manifest.segments.clone();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.meta.generation_max));
        let segments = self.segments();
        self.load_filters(&entries, Filter::TraceIds).await;
        self.load_filters(&entries, Filter::Values).await;
        // One after the other: each takes some milliseconds of a core.
        let bytes_max = segments.metadata_bytes_max();
        let mut loaded = [0, 0];
        for entry in &entries {
            match segments.load_metadata(entry).await {
                Ok(bytes) => loaded.iter_mut().zip(bytes).for_each(|(loaded, bytes)| *loaded += bytes),
                Err(error) => tell(entry, &error),
            }
            if loaded.iter().zip(bytes_max).any(|(loaded, bytes_max)| *loaded >= bytes_max / LOADED_PART) {
                break;
            }
        }
    }

    async fn load_filters(&self, entries: &[SegmentEntry], filter: Filter) {
        let loads = entries.iter().cloned().map(|entry| async move {
            let loaded = match filter {
                Filter::TraceIds => self.segments().load_filter(&entry).await,
                Filter::Values => self.segments().load_value_filters(&entry).await,
            };
            if let Err(error) = loaded {
                tell(&entry, &error);
            }
        });
        futures::stream::iter(loads).buffer_unordered(FILTERS_AT_ONCE).collect::<()>().await;
    }
}

/// Whoever needs it will say so in an answer.
fn tell(entry: &SegmentEntry, error: &StoreError) {
    tracing::debug!(segment = entry.path, %error, "what is known of a segment could not be read in advance");
}
