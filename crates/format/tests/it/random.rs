//! Spans with everything that OTLP can say, odd and extreme on purpose, from a seed.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracelake_model::{
    EntityRef, KeyValue, Owner, Resource, Scope, SpanBatch, SpanBatchBuilder, SpanId, SpanScalars, TraceId,
    Value,
};

/// The seed of a random test: from `TRACELAKE_TEST_SEED`, else a new one; printed either way.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("TRACELAKE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("TRACELAKE_TEST_SEED={seed}");
    seed
}

/// Makes batches of odd spans.
pub(crate) struct Odd {
    random: StdRng,
    traces: Vec<TraceId>,
}

const KEYS: [&str; 14] = [
    "http.route",
    "http.status",
    "ratio",
    "flag",
    "mixed",
    "",
    "tenant",
    "Ключ",
    "a\u{0}b",
    "attr.http.route",
    "`'\"\\",
    "user.id",
    "rare.one",
    "rare.two",
];

impl Odd {
    pub(crate) fn new(seed: u64, traces: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let traces = (0..traces)
            .map(|index| {
                let mut id: [u8; 16] = random.random();
                if index % 3 == 0 {
                    id[..8].fill(0);
                    id[15] |= 1;
                }
                TraceId::from_bytes(&id).expect("not zero")
            })
            .collect();
        Self { random, traces }
    }

    fn pick<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[self.random.random_range(0..values.len())]
    }

    fn text(&mut self) -> String {
        match self.random.random_range(0..6) {
            0 => String::new(),
            1 => "plain".to_owned(),
            2 => "\u{0}\u{1f}\"\\/\u{2028}é𝄞".to_owned(),
            3 => "x".repeat(self.random.random_range(1..2_000)),
            _ => format!("value-{}", self.random.random_range(0..1_000)),
        }
    }

    fn double(&mut self) -> f64 {
        let random: u64 = self.random.random();
        *self.pick(&[
            0.0,
            -0.0,
            1.5,
            0.1 + 0.2,
            f64::MAX,
            f64::MIN_POSITIVE / 4.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            f64::from_bits(0x7ff8_0000_dead_beef),
            f64::from_bits(0xfff0_0000_0000_0001),
            f64::from_bits(random),
        ])
    }

    fn int(&mut self) -> i64 {
        let random: i64 = self.random.random();
        *self.pick(&[0, 1, -1, 200, 503, i64::MIN, i64::MAX, (1 << 53) + 1, random])
    }

    pub(crate) fn value(&mut self, depth: usize) -> Value {
        match self.random.random_range(0..if depth == 0 { 6 } else { 8 }) {
            0 => Value::Empty,
            1 => Value::Text(self.text().into()),
            2 => Value::Bool(self.random.random()),
            3 => Value::Int(self.int()),
            4 => Value::Double(self.double()),
            5 => {
                let len = self.random.random_range(0..40);
                Value::Bytes((0..len).map(|_| self.random.random()).collect())
            }
            6 => Value::Array((0..self.random.random_range(0..4)).map(|_| self.value(depth - 1)).collect()),
            _ => Value::Map(
                (0..self.random.random_range(0..4))
                    .map(|_| KeyValue { key: (*self.pick(&KEYS)).into(), value: self.value(depth - 1) })
                    .collect(),
            ),
        }
    }

    fn attributes(&mut self, max: usize) -> Vec<KeyValue> {
        let count = self.random.random_range(0..=max);
        (0..count)
            .map(|_| {
                let key = *self.pick(&KEYS);
                let value = match (key, self.random.random_range(0..10)) {
                    (_, 0) => self.value(3),
                    ("http.route", _) => Value::Text(self.text().into()),
                    ("http.status", _) => Value::Int(self.int()),
                    ("ratio", _) => Value::Double(self.double()),
                    ("flag", _) => Value::Bool(self.random.random()),
                    _ => self.value(2),
                };
                KeyValue { key: key.into(), value }
            })
            .collect()
    }

    fn resource(&mut self) -> Resource {
        let mut attributes = self.attributes(4);
        if self.random.random() {
            attributes.push(KeyValue { key: "service.name".into(), value: Value::Text(self.text().into()) });
        }
        Resource {
            attributes,
            dropped_attributes_count: self.random.random_range(0..3),
            entity_refs: (0..self.random.random_range(0..2))
                .map(|_| EntityRef {
                    schema_url: self.text().into(),
                    kind: "service".into(),
                    id_keys: vec!["service.name".into(), "".into()],
                    description_keys: vec![self.text().into()],
                })
                .collect(),
            schema_url: self.text().into(),
        }
    }

    fn scope(&mut self) -> Scope {
        Scope {
            name: self.text().into(),
            version: self.text().into(),
            attributes: self.attributes(2),
            dropped_attributes_count: self.random.random_range(0..3),
            schema_url: self.text().into(),
        }
    }

    fn time(&mut self) -> u64 {
        let random = self.random.random_range(0..=i64::MAX as u64);
        *self.pick(&[0, 1, 1_750_000_000_000_000_000, i64::MAX as u64, i64::MAX as u64 - 1, random])
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = *self.pick(&[0usize, 1, 7, 8, 16, 17]);
        (0..len).map(|_| self.random.random()).collect()
    }

    fn push(&mut self, builder: &mut SpanBatchBuilder, owner: Owner, max: usize) {
        for attribute in self.attributes(max) {
            let key = builder.known_term(&attribute.key);
            builder.push_value(owner, key, attribute.value);
        }
    }

    /// A batch of so many spans.
    pub(crate) fn batch(&mut self, spans: usize) -> SpanBatch {
        let mut builder = SpanBatchBuilder::new();
        let resources: Vec<u32> = (0..3).map(|_| builder.resource(Arc::new(self.resource()))).collect();
        let mut scopes: Vec<u32> = (0..2).map(|_| builder.scope(Arc::new(self.scope()))).collect();
        scopes.push(builder.scope(Arc::new(Scope::default())));
        for _ in 0..spans {
            let busy = self.random.random_bool(0.3);
            self.push(&mut builder, Owner::Span, if busy { 20 } else { 6 });
            for _ in 0..self.random.random_range(0..if busy { 4 } else { 1 } + 1) {
                self.push(&mut builder, Owner::Event, 3);
                let name = builder.known_term(&self.text());
                let time = self.random.random();
                builder.finish_event(*self.pick(&[0, u64::MAX, time]), name, self.random.random_range(0..2));
            }
            for _ in 0..self.random.random_range(0..if busy { 3 } else { 1 } + 1) {
                self.push(&mut builder, Owner::Link, 3);
                let state = builder.known_term(&self.text());
                let (trace_id, span_id) = (self.bytes(), self.bytes());
                builder.finish_link(&trace_id, &span_id, state, self.random.random(), self.random.random());
            }
            let traces = self.traces.clone();
            let parent: [u8; 8] = self.random.random();
            let (name, state) = (builder.known_term(&self.text()), builder.known_term(&self.text()));
            let message = builder.known_term(&self.text());
            let scalars = SpanScalars {
                trace_id: *self.pick(&traces),
                span_id: SpanId::from_bytes(&(self.random.random::<u64>() | 1).to_be_bytes()).expect("odd"),
                parent_span_id: self.random.random::<bool>().then(|| SpanId::from_bytes(&parent)).flatten(),
                start_unix_nano: self.time(),
                end_unix_nano: self.time(),
                kind: *self.pick(&[0, 1, 2, 3, 4, 5, -1, i32::MAX, i32::MIN]),
                status_code: *self.pick(&[0, 0, 1, 2, 77, i32::MIN]),
                flags: *self.pick(&[0, 1, 0x101, u32::MAX]),
                dropped_attributes_count: *self.pick(&[0, 0, 1, u32::MAX]),
                dropped_events_count: *self.pick(&[0, 0, 1, u32::MAX]),
                dropped_links_count: *self.pick(&[0, 0, 1, u32::MAX]),
                name,
                trace_state: state,
                status_message: message,
                resource: *self.pick(&resources),
                scope: *self.pick(&scopes),
            };
            builder.finish_span(scalars);
        }
        builder.finish()
    }
}
