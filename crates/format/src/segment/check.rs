//! Checks a whole segment: every byte, and that directory, filter and rows say the same.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tracelake_model::hash::{filter_key, tenant_hash, trace_hash};
use tracelake_model::{SpanView, TraceId};

use super::columns::AttributeType;
use super::directory::{Block, DirectoryBlock, TraceEntry};
use super::filter::TraceFilter;
use super::meta::SegmentTenant;
use super::open::OpenSegment;
use super::schema;

/// Rows decoded at once.
const CHECK_ROWS: u64 = 32_768;

/// What is said at most: a file that is damaged throughout needs no line for every row.
const FINDINGS_MAX: usize = 50;

impl OpenSegment {
    /// What is wrong with the file, in sentences; nothing if all is well. Decodes everything.
    pub fn check(&self, file: &Bytes) -> Vec<String> {
        let mut check = Check { segment: self, file, findings: Vec::new() };
        if file.len() as u64 != self.meta.size_bytes {
            check.say(format!("the file has {} bytes instead of {}", file.len(), self.meta.size_bytes));
            return check.findings;
        }
        check.checksums();
        let filter = check.filter();
        let mut traces = 0u64;
        for (ordinal, part) in self.meta.tenants.iter().enumerate() {
            let blocks = self.directory.blocks().iter().filter(|block| block.tenant as usize == ordinal);
            for block in blocks {
                traces += check.block(block, part, filter.as_ref());
            }
        }
        if traces != self.meta.traces && check.findings.is_empty() {
            check.say(format!("the directory lists {traces} traces instead of {}", self.meta.traces));
        }
        check.findings
    }
}

struct Check<'a> {
    segment: &'a OpenSegment,
    file: &'a Bytes,
    findings: Vec<String>,
}

impl Check<'_> {
    fn say(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    fn bytes(&mut self, range: &Range<u64>) -> Option<Bytes> {
        let start = usize::try_from(range.start).ok();
        let end = usize::try_from(range.end).ok().filter(|end| *end <= self.file.len());
        let found = start.zip(end).filter(|(start, end)| start <= end);
        if found.is_none() {
            self.say(format!("bytes {} to {} are outside of the file", range.start, range.end));
        }
        found.map(|(start, end)| self.file.slice(start..end))
    }

    fn checksums(&mut self) {
        let segment = self.segment;
        let covered = segment.checksums.covered();
        let mut start = 0;
        while start < covered {
            let block = segment.checksums.align(start..start + 1);
            if let Some(bytes) = self.bytes(&block)
                && let Err(error) = segment.checksums.verify(block.start, &bytes)
            {
                self.say(error.to_string());
            }
            start = block.end.max(start + 1);
        }
        for section in [&segment.meta.directory, &segment.meta.checksums, &segment.meta.footer] {
            if let Some(bytes) = self.bytes(&section.range())
                && let Err(error) = OpenSegment::verify_section(section, &bytes)
            {
                self.say(error.to_string());
            }
        }
    }

    fn filter(&mut self) -> Option<TraceFilter> {
        let section = self.segment.meta.filter;
        let bytes = self.bytes(&section.range())?;
        let filter = OpenSegment::verify_section(&section, &bytes).and_then(|()| TraceFilter::parse(bytes));
        filter.map_err(|error| self.say(error.to_string())).ok()
    }

    /// Compares a block's entries with the rows; returns how many traces it lists.
    fn block(&mut self, block: &Block, part: &SegmentTenant, filter: Option<&TraceFilter>) -> u64 {
        let Some(bytes) = self.bytes(&block.range()) else { return 0 };
        let entries: Vec<TraceEntry> =
            match DirectoryBlock::decode(block, self.segment.directory.version(), &bytes) {
                Ok(block) => block.entries().collect(),
                Err(error) => {
                    self.say(error.to_string());
                    return 0;
                }
            };
        let key = |entry: &TraceEntry| (trace_hash(&entry.trace_id), *entry.trace_id.as_bytes());
        if !entries.is_sorted_by(|a, b| key(a) < key(b))
            || entries.first().is_some_and(|entry| key(entry).0 != block.first_hash)
        {
            self.say(format!("the directory block at byte {} is not in order", block.offset));
        }
        let seed = tenant_hash(&part.tenant);
        for entry in &entries {
            if filter.is_some_and(|filter| !filter.contains(filter_key(seed, &entry.trace_id))) {
                self.say(format!("the filter denies trace {} of {}", entry.trace_id, part.tenant));
            }
        }
        self.rows(&entries);
        entries.len() as u64
    }

    fn rows(&mut self, entries: &[TraceEntry]) {
        let mut rest = entries;
        while let Some(first) = rest.first() {
            // Whole traces, so that each is compared at once; a single long one alone.
            let fits = rest.iter().take_while(|entry| entry.row_range().end - first.first_row <= CHECK_ROWS);
            let (now, later) = rest.split_at_checked(fits.count().max(1)).unwrap_or((rest, &[]));
            rest = later;
            let end = now.last().map_or(first.first_row, |entry| entry.row_range().end);
            let range = first.first_row..end;
            let ranges = self.segment.ranges_for_rows(range.clone());
            let fetched: Option<Vec<_>> =
                ranges.into_iter().map(|range| Some((range.clone(), self.bytes(&range)?))).collect();
            let Some(fetched) = fetched else { continue };
            match self.segment.decode_rows(range.clone(), fetched) {
                Ok(batch) => now.iter().for_each(|entry| self.trace(entry, first.first_row, &batch)),
                Err(error) => self.say(format!("rows {} to {}: {error}", range.start, range.end)),
            }
        }
    }

    /// The columns that spans have something in, of those that may be empty.
    fn filled(&self, spans: &[SpanView<'_>]) -> impl Iterator<Item = usize> + use<> {
        let (mut names, mut seen) = (BTreeSet::<String>::new(), HashSet::new());
        for span in spans {
            let fixed = [
                (schema::PARENT_SPAN_ID, span.parent_span_id().is_some()),
                (schema::STATUS_MESSAGE, !span.status_message().is_empty()),
                (schema::TRACE_STATE, !span.trace_state().is_empty()),
                (schema::EVENTS, span.events().next().is_some()),
                (schema::LINKS, span.links().next().is_some()),
            ];
            names.extend(fixed.into_iter().filter(|(_, filled)| *filled).map(|(name, _)| name.to_owned()));
            seen.clear();
            for (key, value) in span.attributes() {
                let mut columns = self.segment.attribute_columns.iter();
                let own =
                    columns.any(|column| column.key == key && AttributeType::of(&value) == Some(column.kind));
                // The first of its type has the column.
                let own = own && seen.insert(key);
                names.insert(if own { schema::attribute_field_name(key) } else { schema::ATTRIBUTES.into() });
            }
        }
        let schema = Arc::clone(&self.segment.schema);
        names.into_iter().filter_map(move |name| schema.index_of(&name).ok())
    }

    fn trace(&mut self, entry: &TraceEntry, first_row: u64, batch: &tracelake_model::SpanBatch) {
        let from = (entry.first_row - first_row) as usize;
        let spans: Vec<_> = (from..from + entry.rows as usize)
            .take_while(|row| *row < batch.len())
            .map(|row| batch.span(row))
            .collect();
        let same = |id: TraceId| id == entry.trace_id;
        let start = spans.iter().map(|span| span.start_unix_nano()).min();
        let end = spans.iter().map(|span| span.end_unix_nano()).max();
        let errors = spans.iter().filter(|span| span.status_code() == 2).count() as u64;
        if !spans.iter().all(|span| same(span.trace_id())) {
            self.say(format!("the directory gives trace {} rows of another", entry.trace_id));
        } else if start != Some(entry.start_unix_nano_min)
            || end != Some(entry.end_unix_nano_max)
            || errors != entry.errors
        {
            self.say(format!("the directory's summary of trace {} is not that of its rows", entry.trace_id));
        } else if let Some(column) = self.filled(&spans).find(|column| !entry.columns.contains(*column)) {
            let name = self.segment.schema.fields().get(column).map_or("", |field| field.name());
            self.say(format!("the directory says that trace {} has nothing in {name}", entry.trace_id));
        } else if !spans.is_sorted_by_key(|span| (span.start_unix_nano(), span.span_id())) {
            self.say(format!("rows of trace {} are not in order", entry.trace_id));
        }
    }
}

#[cfg(test)]
mod tests;
