//! Checks a whole segment: every byte, and that directory, filter, index and rows say the same.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use bytes::Bytes;
use tracelake_model::hash::{filter_key, tenant_hash, trace_hash};
use tracelake_model::{SpanBatch, SpanId, SpanView};

use super::column_set::ColumnSet;
use super::columns::AttributeType;
use super::decode::Decoding;
use super::directory::{Block, DirectoryBlock, TraceEntry};
use super::filter::KeyFilter;
use super::index::{BuiltPart, IndexPart, PartBuilder, ValueFilters};
use super::meta::SegmentTenant;
use super::open::OpenSegment;
use super::projection::Projection;
use super::row_group::{RowGroupReader, WholeSegment};
use super::schema;

/// Rows decoded at once, and what they may take.
const CHECK_ROWS: u64 = 32_768;
const CHECK_BYTES: usize = 64 << 20;

/// Rows that are added to an index at once.
const INDEX_ROWS: usize = 4_096;

/// What is said at most: a file that is damaged throughout needs no line for every row.
const FINDINGS_MAX: usize = 50;

impl OpenSegment {
    /// What is wrong with the file, in sentences; nothing if all is well. Decodes everything.
    pub fn check(&self, file: &Bytes) -> Vec<String> {
        let mut check = Check::of(self, file);
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
        check.index();
        if traces != self.meta.traces && check.findings.is_empty() {
            check.say(format!("the directory lists {traces} traces instead of {}", self.meta.traces));
        }
        check.findings
    }
}

struct Check<'a> {
    segment: &'a OpenSegment,
    file: &'a Bytes,
    columns: NullableColumns,
    findings: Vec<String>,
}

impl<'a> Check<'a> {
    fn of(segment: &'a OpenSegment, file: &'a Bytes) -> Self {
        Self { segment, file, columns: NullableColumns::of(segment), findings: Vec::new() }
    }

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
        let sections = [&segment.meta.directory, &segment.meta.checksums, &segment.meta.footer];
        let optional = segment.meta.index.iter().chain(&segment.meta.value_filters);
        for section in sections.into_iter().chain(optional) {
            if let Some(bytes) = self.bytes(&section.range())
                && let Err(error) = OpenSegment::verify_section(section, &bytes)
            {
                self.say(error.to_string());
            }
        }
    }

    fn filter(&mut self) -> Option<KeyFilter> {
        let section = self.segment.meta.filter;
        let bytes = self.bytes(&section.range())?;
        let filter = OpenSegment::verify_section(&section, &bytes).and_then(|()| KeyFilter::parse(bytes));
        filter.map_err(|error| self.say(error.to_string())).ok()
    }

    /// Compares a block's entries with the rows; returns how many traces it lists.
    fn block(&mut self, block: &Block, part: &SegmentTenant, filter: Option<&KeyFilter>) -> u64 {
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

    /// Compares entries, whose rows follow each other, with the rows: a window at a time, as one trace may have
    /// millions.
    fn rows(&mut self, entries: &[TraceEntry]) {
        let mut seen = entries.iter().map(Seen::nothing_of);
        let Some(mut trace) = seen.next() else { return };
        let mut row = trace.entry.first_row;
        let end = entries.last().map_or(row, |entry| entry.row_range().end);
        while row < end {
            let window = row..end.min(row + CHECK_ROWS);
            let batch = match self.window(window.clone()) {
                Some(batch) if !batch.is_empty() => batch,
                read => {
                    if read.is_some() {
                        self.say(format!("rows {} to {} are not there", window.start, window.end));
                    }
                    // Traces with rows in it are not compared.
                    row = window.end;
                    while trace.entry.row_range().end <= row {
                        if trace.entry.row_range().end <= window.start {
                            self.compare(&trace);
                        }
                        let Some(next) = seen.next() else { return };
                        trace = next;
                    }
                    trace.is_partly_read |= trace.entry.first_row < row;
                    continue;
                }
            };
            for span in batch.spans() {
                while trace.entry.row_range().end <= row {
                    self.compare(&trace);
                    let Some(next) = seen.next() else { return };
                    trace = next;
                }
                trace.add(&span, &self.columns);
                row += 1;
            }
        }
        self.compare(&trace);
        // Those without a row, as none should be.
        seen.for_each(|trace| self.compare(&trace));
    }

    /// The first of these rows.
    fn window(&mut self, rows: Range<u64>) -> Option<SpanBatch> {
        let plan = self.segment.plan_rows(slice::from_ref(&rows), ColumnSet::ALL, &Projection::ALL, None);
        let ranges = plan.ranges().iter();
        let fetched =
            ranges.map(|range| Some((range.clone(), self.bytes(range)?))).collect::<Option<Vec<_>>>()?;
        let decoding = Decoding::new(self.segment, plan, fetched);
        match decoding.and_then(|decoding| decoding.at_most(CHECK_BYTES).finish()) {
            Ok(batch) => Some(batch),
            Err(error) => {
                self.say(format!("rows {} to {}: {error}", rows.start, rows.end));
                None
            }
        }
    }

    /// Makes each part of the attribute index anew, from its rows.
    fn index(&mut self) {
        if self.segment.index_parts().is_empty() {
            return;
        }
        let Some(tail) = self.bytes(&OpenSegment::tail_range(&self.segment.meta)) else { return };
        let whole = match WholeSegment::open(&self.segment.meta, tail) {
            Ok(whole) => Arc::new(whole),
            Err(error) => return self.say(error.to_string()),
        };
        let (mut group, mut filters) = (0, Vec::new());
        for part in self.segment.index_parts() {
            match self.part(part, &whole, &mut group) {
                Ok(Some(filter)) => ValueFilters::push(&mut filters, part.tenant, &filter),
                // The bytes that lack were named.
                Ok(None) => return,
                Err(finding) => {
                    return self
                        .say(format!("the attribute index at byte {}: {finding}", part.range().start));
                }
            }
        }
        let Some(section) = self.segment.meta.value_filters else {
            return self.say("its attribute index has no filters".to_owned());
        };
        if self.bytes(&section.range()).is_some_and(|bytes| bytes != filters) {
            self.say("the filters of its attribute index are not those of its rows".to_owned());
        }
    }

    /// Row groups begin with `group`, which is the first one behind the part from then on. Gives the part's filter; none
    /// if bytes lack.
    fn part(
        &mut self,
        part: &IndexPart,
        whole: &Arc<WholeSegment>,
        group: &mut usize,
    ) -> Result<Option<Vec<u8>>, String> {
        let Some(bytes) = self.bytes(&part.range()) else { return Ok(None) };
        let mut built = None;
        let mut next_row = part.first_row;
        while next_row < part.row_range().end {
            let range = RowGroupReader::range(whole, *group).filter(|(_, rows)| rows.start == next_row);
            let (range, rows) = range.ok_or("it is not of whole row groups")?;
            *group += 1;
            next_row = rows.end;
            let Some(pages) = self.bytes(&range) else { return Ok(None) };
            let reader = RowGroupReader::new(Arc::clone(whole), *group - 1, (range, pages), INDEX_ROWS);
            for rows in reader.map_err(|error| error.to_string())? {
                let rows = rows.map_err(|error| error.to_string())?;
                let built = built.get_or_insert_with(|| PartBuilder::new(rows.batch().schema_ref()));
                built.push(rows.batch().columns()).map_err(|error| error.to_string())?;
            }
        }
        let built = built.ok_or("it has no rows")?.finish(part.tenant, part.first_row, part.range().start);
        let built: BuiltPart = built.map_err(|error| error.to_string())?;
        if built.part != *part || built.bytes != bytes {
            return Err("it is not that of its rows".to_owned());
        }
        Ok(Some(built.value_filter))
    }

    fn compare(&mut self, seen: &Seen<'_>) {
        let Seen { entry, .. } = seen;
        if seen.is_partly_read {
            return;
        }
        let denied = (0..self.segment.schema.fields().len())
            .find(|column| seen.filled.has(*column) && !entry.columns.contains(*column));
        if seen.has_other_trace {
            self.say(format!("the directory gives trace {} rows of another", entry.trace_id));
        } else if seen.start_min != entry.start_unix_nano_min
            || seen.end_max != entry.end_unix_nano_max
            || seen.errors != entry.errors
        {
            self.say(format!("the directory's summary of trace {} is not that of its rows", entry.trace_id));
        } else if let Some(column) = denied {
            let name = self.segment.schema.fields().get(column).map_or("", |field| field.name());
            self.say(format!("the directory says that trace {} has nothing in {name}", entry.trace_id));
        } else if !seen.is_sorted {
            self.say(format!("rows of trace {} are not in order", entry.trace_id));
        }
    }
}

/// The columns that may be empty, of which a directory says whether they are.
struct NullableColumns {
    parent_span_id: Option<usize>,
    status_message: Option<usize>,
    trace_state: Option<usize>,
    events: Option<usize>,
    links: Option<usize>,
    attributes: Option<usize>,
    /// By key.
    attribute_columns: HashMap<String, (AttributeType, Option<usize>)>,
}

impl NullableColumns {
    fn of(segment: &OpenSegment) -> Self {
        let place = |name: &str| segment.schema.index_of(name).ok();
        let own = segment.attribute_columns.iter().map(|column| {
            (column.key.clone(), (column.kind, place(&schema::attribute_field_name(&column.key))))
        });
        Self {
            parent_span_id: place(schema::PARENT_SPAN_ID),
            status_message: place(schema::STATUS_MESSAGE),
            trace_state: place(schema::TRACE_STATE),
            events: place(schema::EVENTS),
            links: place(schema::LINKS),
            attributes: place(schema::ATTRIBUTES),
            attribute_columns: own.collect(),
        }
    }
}

/// What the rows of a trace say of it.
struct Seen<'e> {
    entry: &'e TraceEntry,
    start_min: u64,
    end_max: u64,
    errors: u64,
    filled: ColumnSet,
    newest: Option<(u64, SpanId)>,
    has_other_trace: bool,
    is_sorted: bool,
    /// Then nothing follows from it.
    is_partly_read: bool,
}

impl<'e> Seen<'e> {
    fn nothing_of(entry: &'e TraceEntry) -> Self {
        Self {
            entry,
            start_min: u64::MAX,
            end_max: 0,
            errors: 0,
            filled: ColumnSet::NONE,
            newest: None,
            has_other_trace: false,
            is_sorted: true,
            is_partly_read: false,
        }
    }

    fn add(&mut self, span: &SpanView<'_>, columns: &NullableColumns) {
        let place = (span.start_unix_nano(), span.span_id());
        self.has_other_trace |= span.trace_id() != self.entry.trace_id;
        self.start_min = self.start_min.min(place.0);
        self.end_max = self.end_max.max(span.end_unix_nano());
        self.errors += u64::from(span.status_code() == 2);
        self.is_sorted &= self.newest.is_none_or(|newest| newest <= place);
        self.newest = Some(place);
        let fixed = [
            (columns.parent_span_id, span.parent_span_id().is_some()),
            (columns.status_message, !span.status_message().is_empty()),
            (columns.trace_state, !span.trace_state().is_empty()),
            (columns.events, span.events().next().is_some()),
            (columns.links, span.links().next().is_some()),
        ];
        let fixed = fixed.into_iter().filter(|(_, is_filled)| *is_filled).filter_map(|(column, _)| column);
        fixed.for_each(|column| self.filled.insert(column));
        let mut keys = HashSet::new();
        for (key, value) in span.attributes() {
            let own = columns.attribute_columns.get(key);
            let own = own.filter(|(kind, _)| AttributeType::of(&value) == Some(*kind));
            // The first of its type has the column.
            let column = match own {
                Some((_, column)) if keys.insert(key) => *column,
                _ => columns.attributes,
            };
            column.into_iter().for_each(|column| self.filled.insert(column));
        }
    }
}

#[cfg(test)]
mod tests;
