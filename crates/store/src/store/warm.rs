//! After a start: the filters of all segments are read, the newest first, those of trace IDs before those of values,
//! before anybody asks for them. Nothing waits for it: a lookup that comes earlier reads what it needs itself, a search
//! does without.

use std::sync::PoisonError;

use futures::StreamExt;

use super::Store;

/// Fewer than may be read at once, so that lookups find a place beside it.
const FILTERS_AT_ONCE: usize = 8;

impl Store {
    pub(super) fn spawn_filter_loader(&self) {
        let store = self.clone();
        let task = tokio::spawn(async move {
            let mut stopping = store.inner.flusher.signals.stopping.subscribe();
            tokio::select! {
                () = store.load_filters() => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        });
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    async fn load_filters(&self) {
        let manifest = self.snapshot().manifest;
        let mut segments = manifest.segments.clone();
        segments.sort_by_key(|entry| std::cmp::Reverse(entry.meta.generation_max));
        let loads = segments.clone().into_iter().map(|entry| async move {
            let entry = &entry;
            if let Err(error) = self.segments().load_filter(entry).await {
                // Lookups that need it will say so in their answers.
                tracing::debug!(segment = entry.path, %error, "a trace filter could not be read in advance");
            }
        });
        futures::stream::iter(loads).buffer_unordered(FILTERS_AT_ONCE).collect::<()>().await;
        let loads = segments.into_iter().map(|entry| async move {
            let entry = &entry;
            if let Err(error) = self.segments().load_value_filters(entry).await {
                // Searches look into the segment.
                tracing::debug!(segment = entry.path, %error, "filters of values could not be read in advance");
            }
        });
        futures::stream::iter(loads).buffer_unordered(FILTERS_AT_ONCE).collect::<()>().await;
    }
}
