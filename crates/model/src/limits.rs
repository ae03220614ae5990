//! Every limit of Tracelake in one table: name, unit, default, why, and what the user sees when it
//! is hit. Where a limit is a setting, the setting has the limit's name.

/// One limit.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Its name; the last word is the unit's where the unit is not a count.
    pub name: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// The value if nothing else is set.
    pub default: u64,
    /// Why this number.
    pub why: &'static str,
    /// What the user sees when it is hit.
    pub when_hit: &'static str,
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $unit:literal = $default:expr, $why:literal, $when_hit:literal;)*) => {
        $($(#[$doc])* pub const $name: u64 = $default;)*

        /// All limits, in the order of the table in docs/limits.md.
        pub const ALL: &[Limit] = &[$(Limit {
            name: stringify!($name),
            unit: $unit,
            default: $default,
            why: $why,
            when_hit: $when_hit,
        },)*];
    };
}

limits! {
    /// An OTLP request as it arrives.
    REQUEST_BYTES_MAX: "bytes" = 64 << 20,
        "what OTLP 1.11 recommends",
        "HTTP 413 or RESOURCE_EXHAUSTED, not to be sent again";
    /// An OTLP request after decompression.
    REQUEST_DECODED_BYTES_MAX: "bytes" = 64 << 20,
        "the same, so that compression buys no memory",
        "HTTP 413 or RESOURCE_EXHAUSTED, not to be sent again";
    /// Spans in one OTLP request.
    REQUEST_SPANS_MAX: "spans" = 100_000,
        "an empty span is two bytes on the wire: size alone does not bound what is built of it",
        "HTTP 413 or RESOURCE_EXHAUSTED, not to be sent again";
    /// Resources, scopes, spans, events, links and attributes in one OTLP request, with the elements
    /// of arrays and maps, together.
    REQUEST_ITEMS_MAX: "items" = 2_000_000,
        "what 64 MiB of ordinary spans have; an empty one is two bytes on the wire and up to 40 in memory",
        "HTTP 413 or RESOURCE_EXHAUSTED, not to be sent again";
    /// Bytes of all OTLP requests being worked on at once, decompressed, and 4 KiB for each.
    IN_FLIGHT_BYTES_MAX: "bytes" = 128 << 20,
        "twice the largest request",
        "HTTP 429 with Retry-After or RESOURCE_EXHAUSTED with RetryInfo";
    /// How long a request's headers may take, and how long an HTTP/1 connection may idle.
    HEADER_READ_SECONDS_MAX: "seconds" = 10,
        "a sender has them ready; who sends none holds a connection for nothing",
        "the connection is closed";
    /// How long a request's body may take, and how long a client may read nothing of its answer.
    BODY_READ_SECONDS_MAX: "seconds" = 30,
        "the largest request at 2 MiB/s; a slower sender holds memory that others need",
        "HTTP 408 or DEADLINE_EXCEEDED; an answer that nobody reads is broken off";
    /// How much of a request that is turned down is read on, so that its HTTP/1 sender, who may write
    /// everything before reading anything, gets the answer.
    DRAIN_FACTOR_MAX: "times request_bytes_max" = 8,
        "a sender that is cut off does not see why and sends the same again",
        "the connection is closed; whoever has not finished writing sees no answer";
    /// What a zstd frame may ask its reader to keep of what was decompressed.
    ZSTD_WINDOW_BYTES_MAX: "bytes" = 8 << 20,
        "what RFC 8878 asks every reader to support; compressors need more only at levels above 19",
        "HTTP 400 or INVALID_ARGUMENT";
    /// How long a request waits for room in the memtables.
    ROOM_WAIT_SECONDS_MAX: "seconds" = 2,
        "a flush takes about as long; clients wait 10 seconds for an answer",
        "HTTP 503 with Retry-After or UNAVAILABLE with RetryInfo";
    /// How long requests in flight and the last flush may take when the server stops.
    SHUTDOWN_SECONDS_MAX: "seconds" = 10,
        "less than what service managers allow before they kill",
        "nothing is lost: what is not flushed is read back from the WAL by the next start";
    /// Connections of all listeners together.
    CONNECTIONS_MAX: "connections" = 4_096,
        "each may hold a buffer and a file descriptor; an eighth is kept for the API's port",
        "a new connection waits in the kernel's queue until one ends";
    /// Streams of one HTTP/2 connection.
    CONNECTION_STREAMS_MAX: "streams" = 256,
        "more than a sender needs, fewer than an attack",
        "further streams wait, as HTTP/2 lets the server say";
    /// How long a connection may have no request in progress; HTTP/1 is closed earlier.
    CONNECTION_IDLE_SECONDS_MAX: "seconds" = 300,
        "exporters send every few seconds; a client that answers pings could stay for ever",
        "within twice the time the connection is closed (GOAWAY); gRPC clients connect again by themselves";
    /// Depth of arrays and maps inside an attribute's value.
    VALUE_DEPTH_MAX: "levels" = 32,
        "decoding recurses, and real values are two or three deep",
        "HTTP 400 or INVALID_ARGUMENT naming the depth";
    /// One attribute's value: text, bytes, or a nested value's encoding.
    ATTRIBUTE_VALUE_BYTES_MAX: "bytes" = 16 << 20,
        "a whole stack trace or statement fits; a file does not",
        "the span is rejected, counted and reported as partial success";
    /// Elements of arrays and maps in one attribute's value, at all its levels together.
    VALUE_ELEMENTS_MAX: "elements" = 65_536,
        "an empty one is two bytes on the wire and some 40 in memory; real values have a handful",
        "the span is rejected, counted and reported as partial success";
    /// Attributes of one span, event, link, resource or scope.
    ATTRIBUTES_MAX: "attributes" = 4_096,
        "SDKs send 128 by default",
        "the span is rejected, counted and reported as partial success";
    /// Events of one span.
    SPAN_EVENTS_MAX: "events" = 65_536,
        "SDKs send 128 by default; long jobs log more",
        "the span is rejected, counted and reported as partial success";
    /// Links of one span.
    SPAN_LINKS_MAX: "links" = 65_536,
        "SDKs send 128 by default; a batch consumer links its batch",
        "the span is rejected, counted and reported as partial success";
    /// One resource, and one scope: its protobuf encoding and its schema URL.
    RESOURCE_BYTES_MAX: "bytes" = 256 << 10,
        "each part of a segment that is read alone holds its resources and scopes; real ones have 1 KB",
        "spans below such a resource or scope are rejected, counted and reported as partial success";
    /// Tenants with spans in one generation.
    GENERATION_TENANTS_MAX: "tenants" = 1_024,
        "each costs a memtable; a name in a header must not buy memory without a bound",
        "HTTP 429 with Retry-After or RESOURCE_EXHAUSTED with RetryInfo";
    /// Memory of the memtable before it is frozen and flushed.
    GENERATION_BYTES_MAX: "bytes" = 48 << 20,
        "some 150,000 spans: a segment worth its file, three of them within the memory budget",
        "nothing: it is flushed";
    /// Age of the memtable before it is frozen and flushed.
    GENERATION_AGE_SECONDS_MAX: "seconds" = 60,
        "bounds what a start replays, and keeps files few under light load",
        "nothing: it is flushed";
    /// Frozen memtables that wait to be flushed.
    FROZEN_GENERATIONS_MAX: "generations" = 2,
        "a slow disk or object store must slow senders, not fill memory",
        "HTTP 503 with Retry-After or UNAVAILABLE with RetryInfo";
    /// Flushed segments that are merged even if they are small.
    FLUSHED_SEGMENTS_MAX: "segments" = 20,
        "each costs every lookup a look at its filter; with more of them each merge rewrites as much",
        "nothing: they are merged";
    /// Flushed segments that wait to be merged.
    FLUSHED_SEGMENTS_WAITING_MAX: "segments" = 512,
        "hours of what one core cannot merge; beyond it lookups get slower and slower",
        "HTTP 503 with Retry-After or UNAVAILABLE with RetryInfo";
    /// The size that merged segments shall have.
    SLICE_BYTES: "bytes" = 256 << 20,
        "large enough that a month is some hundred files, small enough to be merged in a minute",
        "nothing: what is larger becomes several";
    /// Segments that are merged at once.
    MERGE_INPUTS_MAX: "segments" = 32,
        "a row group of each is in memory",
        "nothing: the others are merged next";
    /// Merged segments of about one size that are merged again, if they are small.
    SIMILAR_SLICES_MAX: "segments" = 8,
        "under light load a row is merged again with each eightfold of its segment",
        "nothing: they are merged";
    /// Requests that wait for the WAL at once.
    WAL_QUEUE_REQUESTS_MAX: "requests" = 1_024,
        "bounded channel; the bytes are bounded by those in flight",
        "the request waits";
    /// One WAL frame's payload.
    WAL_FRAME_BYTES_MAX: "bytes" = 256 << 20,
        "above the largest request re-encoded; what says more is damage",
        "a recovered file with such a frame is treated as damaged";
    /// Hashes of requests kept to recognise one that is sent again.
    DEDUP_REQUESTS_MAX: "requests" = 200_000,
        "ten minutes at 300 requests a second, in 10 MB",
        "the oldest are forgotten: such a request would be stored again, and shown once";
    /// How long a request that is sent again is recognised.
    DEDUP_SECONDS_MAX: "seconds" = 600,
        "longer than clients keep trying",
        "such a request would be stored again, and shown once";
    /// Attributes of a store that may have a column, each with the one type that its columns have.
    ATTRIBUTE_KEYS_MAX: "attributes" = 1_024,
        "each stands in every checkpoint of the manifest; far more than one organisation's spans have often",
        "nothing: further keys stay in the residual";
    /// Attribute columns in a segment.
    ATTRIBUTE_COLUMNS_MAX: "columns" = 64,
        "each costs a lookup a page to decode",
        "nothing: the keys that are rarer in it stay in its residual";
    /// Fields that a part of a segment's attribute index lists.
    INDEX_FIELDS_MAX: "fields" = 4_096,
        "each stands in what a search reads first and keeps; real parts have some hundred",
        "nothing: a search reads all that may have a field that is not listed, and a list of attributes is partial";
    /// Pairs of a service and a name that a part of a segment's attribute index lists.
    INDEX_OPERATIONS_MAX: "operations" = 4_096,
        "real parts have some hundred; of more, names have IDs in them, and nobody chooses one of a list",
        "nothing: the names of a service are looked for in all rows of the part";
    /// A text that the attribute index has as it is.
    INDEX_TEXT_BYTES_MAX: "bytes" = 256,
        "nobody looks for a statement by its first letters; whole ones are found by their hash",
        "nothing: a search for a part of a text reads all that have a longer one";
    /// What a flush or a merge holds for the part of an attribute index that it writes.
    INDEX_PART_BYTES_MAX: "bytes" = 128 << 20,
        "three times what 262,144 ordinary spans take",
        "nothing: the part ends earlier";
    /// Spans of one trace in one answer.
    TRACE_SPANS_MAX: "spans" = 100_000,
        "a trace ID may be reused without end; an answer must fit into memory",
        "HTTP 206, marked as partial";
    /// Memory of the spans of one trace in one answer.
    TRACE_BYTES_MAX: "bytes" = 128 << 20,
        "as above",
        "HTTP 206, marked as partial";
    /// Lookups worked on at once.
    CONCURRENT_LOOKUPS_MAX: "requests" = 64,
        "each may hold a trace in memory",
        "the request waits, then HTTP 429 with Retry-After";
    /// How long a lookup waits for its turn.
    LOOKUP_WAIT_SECONDS_MAX: "seconds" = 2,
        "a lookup takes milliseconds; where a queue takes longer, its end should be seen",
        "HTTP 429 with Retry-After";
    /// How long a lookup may take, and a group of some hundred traces in a batch.
    LOOKUP_SECONDS_MAX: "seconds" = 10,
        "whoever waits longer has gone; a store that hangs must not hold memory for them",
        "HTTP 206, marked as partial, with the segments that are missing";
    /// Trace IDs in one batch.
    BATCH_TRACES_MAX: "traces" = 10_000,
        "an answer is streamed; more are better asked for in several requests, or exported",
        "HTTP 413";
    /// Groups of a batch that are worked on at once.
    BATCH_WORKERS: "groups" = 2,
        "a batch should not take all cores from those who look at one trace",
        "nothing: the others wait";
    /// Memory of attribute indexes after they were read.
    INDEX_CACHE_BYTES_MAX: "bytes" = 64 << 20,
        "what searches of the last hours ask of: headers and terms of some hundred parts",
        "nothing: they are read again";
    /// Memory of traces kept for those who look again.
    TRACE_CACHE_BYTES_MAX: "bytes" = 64 << 20,
        "some thousand traces: what a team looks at in an hour",
        "nothing: they are read again";
    /// The same as a number of traces; 0 for any number.
    TRACE_CACHE_TRACES_MAX: "traces" = 0,
        "bytes are what runs out; a number is for those who want to keep fewer",
        "nothing: they are read again";
    /// How long a file of the store is kept after the manifest ceased to name it.
    DELETION_GRACE_SECONDS: "seconds" = 300,
        "longer than a query takes to read what it began with",
        "an export that takes longer ends with an error";
    /// How long spans are kept after the end of the newest span of their segment; 0: for good.
    RETENTION_AGE_SECONDS_MAX: "seconds" = 0,
        "0 is no limit: nothing is removed that nobody asked to be",
        "what is older is removed and no answer has it any more";
    /// Bytes of segments that a tenant's spans may take; 0: any number.
    RETENTION_BYTES_MAX: "bytes" = 0,
        "0 is no limit: nothing is removed that nobody asked to be",
        "the oldest segments are removed and no answer has them any more";
    /// Tenants with limits of their own in `retention_tenants`.
    RETENTION_TENANTS_MAX: "tenants" = 1_024,
        "a setting is one line of text",
        "the setting is refused";
    /// Segments that one answer describes.
    SEGMENTS_LISTED_MAX: "segments" = 1_000,
        "a month of a busy store; some 500 bytes each",
        "the answer says that there are more, and where to go on";
    /// Manifest versions that a backup begins with before it gives up, as files were deleted meanwhile.
    BACKUP_TRIES_MAX: "tries" = 16,
        "each copies what the one before did not; with more, deletion_grace_seconds is too short",
        "the backup fails and says so; what it copied helps the next one";
    /// How long a connection to a remote object store may take to be made.
    STORE_CONNECT_SECONDS_MAX: "seconds" = 3,
        "within a region it takes milliseconds; the clients of AWS wait as long",
        "nothing: it is tried again, then as when the store cannot be reached";
    /// One request to a remote object store, with its body and its answer.
    STORE_REQUEST_SECONDS_MAX: "seconds" = 30,
        "a part of 8 MiB at 300 KB/s; a store that is alive begins to answer within a few",
        "nothing: it is tried again, then as when the store cannot be reached";
    /// What is put into a remote object store by one request; more is put in parts of 8 MiB.
    STORE_PUT_BYTES_MAX: "bytes" = 32 << 20,
        "at 1.1 MB/s within store_request_seconds_max; ordinary segments have less, and one request is cheaper",
        "nothing: it is put in parts";
    /// How often a request to a remote object store is tried again after an error that says it can help.
    STORE_RETRIES_MAX: "retries" = 4,
        "with pauses of some 100 ms to 2 s they outlast what a store needs to shift load",
        "answers that need it are partial; flushes and merges go on trying for ever, with longer pauses";
    /// How long after its beginning a request to a remote object store is tried again.
    STORE_RETRY_SECONDS_MAX: "seconds" = 10,
        "who waits for an answer waits no longer; longer trouble is waited out by flush and merge",
        "as above";
    /// How long a read from a remote object store waits for its answer, and for each piece of it.
    STORE_READ_SECONDS_MAX: "seconds" = 10,
        "a hundred times what a store that is alive takes; a read that failed sooner is tried once more",
        "HTTP 206, marked as partial";
    /// How long a read from a remote object store may take before it is begun a second time; 0: never.
    STORE_HEDGE_MILLISECONDS: "milliseconds" = 300,
        "several times what a store that is well takes; few reads are slower, and for them two tries are faster",
        "nothing: of two answers the first is taken";
    /// Parts of a segment's file on a disk that are read as one if no more than this lies between them.
    LOCAL_GAP_BYTES_MAX: "bytes" = 4 << 10,
        "what is in the kernel's memory costs its copy, not its request",
        "nothing";
    /// The same on an object store.
    BUCKET_GAP_BYTES_MAX: "bytes" = 1 << 20,
        "a request takes as long as these bytes; a lookup's pages lie within one row group of some 1.4 MB",
        "nothing";
    /// Open segments' metadata kept in memory.
    METADATA_CACHE_BYTES_MAX: "bytes" = 64 << 20,
        "some 0.4 bytes a span; beyond it footers are read again",
        "nothing: lookups get slower";
    /// Trace-ID filters kept in memory.
    FILTER_CACHE_BYTES_MAX: "bytes" = 64 << 20,
        "4.5 bytes a trace: 14 million traces",
        "nothing: lookups get slower";
    /// Filters of values kept in memory.
    VALUE_FILTER_BYTES_MAX: "bytes" = 64 << 20,
        "1.4 bytes a span with a value of its own: 40 million spans",
        "nothing: searches look into segments that have nothing of what they look for";
    /// Pages, directory blocks and resources kept in memory after they were read and decompressed.
    BLOCK_CACHE_BYTES_MAX: "bytes" = 64 << 20,
        "the blocks of the traces that people look at now, up to half of it small dictionaries; others are read again",
        "nothing: lookups get slower";
    /// Blocks of segments in a bucket, kept on the disk of `disk_cache_dir` if it is named.
    DISK_CACHE_BYTES_MAX: "bytes" = 8 << 30,
        "all of some 190 M spans, or the newest of more; a small disk has it",
        "nothing: what was read longest ago goes, and is read from the bucket again";
    /// The text of a query.
    QUERY_BYTES_MAX: "bytes" = 64 << 10,
        "a hundred times what people write; long lists of values fit",
        "HTTP 400";
    /// How long a search may take.
    SEARCH_SECONDS_MAX: "seconds" = 30,
        "who waits has narrowed the search by then",
        "HTTP 206 with what was found, and `search_seconds_max` in the answer";
    /// Traces that a search may have to look at: those that may satisfy its condition, as far as is known before they
    /// are read.
    SEARCH_CANDIDATES_MAX: "traces" = 2_000_000,
        "64 bytes each; some fifty million spans, of which every trace may match",
        "HTTP 206 with what was found, and `search_candidates_max` in the answer";
    /// Traces of one page of a search.
    SEARCH_TRACES_MAX: "traces" = 1_000,
        "a page is put together in memory; what is behind it comes by its cursor, or streamed",
        "HTTP 400";
    /// Traces of a search whose answer is streamed, where it names a limit.
    SEARCH_STREAMED_TRACES_MAX: "traces" = 1_000_000,
        "whoever wants more names no limit: what is found is sent, and not kept",
        "HTTP 400";
    /// Traces up to the end of a page that is asked for by its number.
    SEARCH_NUMBERED_TRACES_MAX: "traces" = 10_000,
        "all pages before it are found again; by a cursor they are not",
        "HTTP 400";
    /// Matching spans that a search gives of each trace.
    SEARCH_SPANS_MAX: "spans" = 100,
        "they tell why a trace was found; all of its spans come with the trace",
        "HTTP 400";
    /// Spans, those of traces and one more for each trace, that a search has found and keeps until it is known what comes
    /// before them.
    SEARCH_SPANS_FOUND_MAX: "spans" = 100_000,
        "some 300 bytes each; a page that no number names has room for all of its own, and what is streamed waits only \
         behind traces that go on for long, or are in several segments",
        "HTTP 206, or the last line says it, and `search_spans_found_max` in the answer, whose cursor goes on";
    /// Attributes that a search gives of matching spans.
    SEARCH_SELECT_MAX: "attributes" = 64,
        "each is a column that is read; more than a table has",
        "HTTP 400";
    /// Services that a search names of a trace; they are counted, however many they are.
    SEARCH_SERVICES_MAX: "services" = 64,
        "more than a line shows; all of them come with the trace",
        "`service_count` is more than `services` has";
    /// Sources that a search's plan names.
    SEARCH_SOURCES_MAX: "sources" = 64,
        "more than anybody reads; the others are counted by how and why",
        "`others` in the plan counts them";
    /// Parts of a search's histogram.
    SEARCH_HISTOGRAM_MAX: "parts" = 1_000,
        "as many as a screen shows",
        "HTTP 400";
    /// Services, operations, attributes or values of one that are listed at once.
    VALUES_LISTED_MAX: "values" = 10_000,
        "whoever types has fewer to choose from; a prefix narrows the list",
        "HTTP 400";
    /// The same as they are found, before they are put in order.
    VALUES_FOUND_MAX: "values" = 100_000,
        "at most some 300 bytes each; a prefix narrows what is found",
        "HTTP 206, and `values_found_max` in the answer";
    /// The body of a search.
    SEARCH_BODY_BYTES_MAX: "bytes" = 256 << 10,
        "the texts of the largest query, with what JSON has around them",
        "HTTP 413";
    /// Words of a query, or conditions and values of one in JSON.
    QUERY_WORDS_MAX: "words" = 4_096,
        "a list of a thousand values has as many and their operators",
        "HTTP 400";
    /// How deep a query is nested: parentheses, negations, operators of other operators.
    QUERY_DEPTH_MAX: "levels" = 64,
        "far more than people write; reading one must not exhaust a thread's stack",
        "HTTP 400";
    /// Regular expressions of a query.
    QUERY_PATTERNS_MAX: "expressions" = 64,
        "each is compiled before anything is searched; many texts are better compared as they are",
        "HTTP 400";
    /// A regular expression when it is compiled.
    QUERY_PATTERN_BYTES_MAX: "bytes" = 256 << 10,
        "an ordinary one takes some ten KiB; all of a query may take 16 MiB",
        "HTTP 400";
    /// Bytes of one line that `tracelake import` reads.
    IMPORT_LINE_BYTES_MAX: "bytes" = 256 << 20,
        "a line is one request of the Collector's file exporter",
        "the line is reported and skipped";
}

#[cfg(test)]
mod tests;
