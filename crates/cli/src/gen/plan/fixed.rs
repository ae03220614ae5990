//! What is drawn once and then stays: pods with their names, and the attributes that few spans have.

use super::super::draw::{Draws, put_hex};
use super::super::shop::{Language, SERVICES};
use super::super::template::{Arena, Range};
use super::super::wire::{AnyValue, put_bytes, put_key_value};
use super::{PlannedResource, ScopeKind};

/// Agents that export for the pods that do not by themselves.
const AGENTS: u16 = 6;
/// Keys that only few spans have.
const RARE_KEYS: usize = 400;

/// All pods, for each service its own as a range, and the number of lanes.
pub(super) fn resources(draws: &mut Draws) -> (Vec<PlannedResource>, Vec<std::ops::Range<u16>>, u16) {
    let mut resources = Vec::new();
    let mut pods = Vec::new();
    let mut lanes = AGENTS;
    for (index, service) in SERVICES.iter().enumerate() {
        let first = resources.len() as u16;
        let mut replica_set = [0; 10];
        put_hex(&mut replica_set, draws.bits());
        for _ in 0..service.pods {
            let mut instance = [0; 32];
            let (high, low) = instance.split_at_mut(16);
            put_hex(high, draws.bits());
            put_hex(low, draws.bits());
            let mut suffix = [0; 5];
            put_hex(&mut suffix, draws.bits());
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let agent = (resources.len() as u16) % AGENTS;
            let (instance, suffix) = (text(&instance), text(&suffix));
            let id = format!(
                "{}-{}-{}-{}-{}",
                &instance[..8],
                &instance[8..12],
                &instance[12..16],
                &instance[16..20],
                &instance[20..]
            );
            let lane = if service.exports_itself {
                lanes += 1;
                lanes - 1
            } else {
                agent
            };
            let pod = format!("{}-{}-{suffix}", service.name, text(&replica_set));
            let mut resource = Vec::new();
            for (key, value) in [
                ("service.name", service.name),
                ("service.version", service.version),
                ("service.instance.id", id.as_str()),
                ("k8s.pod.name", pod.as_str()),
                ("k8s.namespace.name", service.namespace),
                ("host.name", format!("node-{}.eu-central.shop.internal", agent + 1).as_str()),
                ("telemetry.sdk.name", "opentelemetry"),
                ("telemetry.sdk.language", sdk_language(service.language)),
            ] {
                put_key_value(&mut resource, 1, key, AnyValue::Text(value));
            }
            let scopes = ScopeKind::ALL.map(|kind| {
                let mut scope = Vec::new();
                put_bytes(&mut scope, 1, kind.scope_name(service).as_bytes());
                let version = if kind == ScopeKind::Own { service.version } else { "0.57.0" };
                put_bytes(&mut scope, 2, version.as_bytes());
                scope
            });
            resources.push(PlannedResource { service: index as u16, resource, scopes, lane });
        }
        pods.push(first..resources.len() as u16);
    }
    (resources, pods, lanes)
}

fn sdk_language(language: Language) -> &'static str {
    match language {
        Language::NodeJs => "nodejs",
        Language::Go => "go",
        Language::DotNet => "dotnet",
        Language::Java => "java",
        Language::Python => "python",
        Language::Rust => "rust",
        Language::Cpp => "cpp",
        Language::Ruby => "ruby",
        Language::Php => "php",
        Language::Elixir => "erlang",
    }
}

/// Hundreds of keys, each with a few values, of every type that OTLP has.
pub(super) fn rare_attributes(arena: &mut Arena, draws: &mut Draws) -> Vec<Range> {
    const AREAS: &[&str] =
        &["experiment", "baggage", "feature", "debug", "customer", "partner", "batch", "legacy"];
    const NOUNS: &[&str] =
        &["variant", "cohort", "bucket", "origin", "revision", "shard", "campaign", "channel"];
    let mut ranges = Vec::new();
    for number in 0..RARE_KEYS {
        let key = format!(
            "app.{}.{}_{}",
            AREAS[number % AREAS.len()],
            NOUNS[number / AREAS.len() % NOUNS.len()],
            number / (AREAS.len() * NOUNS.len())
        );
        for _ in 0..4 {
            let bits = draws.bits();
            let text = format!("{:08x}", bits as u32);
            let value = match number % 16 {
                0..8 => AnyValue::Text(&text),
                8..11 => AnyValue::Int((bits % 100_000) as i64 - 50_000),
                11 => AnyValue::Double((bits % 10_000) as f64 / 64.0),
                12 => AnyValue::Bool(bits & 1 == 1),
                13 => AnyValue::Texts(&["blue", "green", "canary"]),
                14 => AnyValue::Map(&[("ring", AnyValue::Int(2)), ("name", AnyValue::Text("outer"))]),
                _ => AnyValue::Bytes(&[0xde, 0xad, 0x00, 0xff]),
            };
            let mut encoded = Vec::new();
            put_key_value(&mut encoded, 9, &key, value);
            ranges.push(arena.add(&encoded));
        }
    }
    ranges
}
