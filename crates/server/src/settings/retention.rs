//! The setting that gives tenants retention limits of their own: `acme=age:30d bytes:50GiB, beta=age:off`.

use tracelake::{TenantId, limits};

use super::kinds::{Kind, Seconds, Size};

/// The longest age: a hundred years.
pub(super) const AGE: Seconds = Seconds(0, 3_155_760_000);

/// The most bytes: an exbibyte.
pub(super) const BYTES: Size = Size(0, 1 << 60);

/// What one tenant has instead of what all others have. 0 is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRetention {
    /// Whose limits these are.
    pub tenant: TenantId,
    /// Instead of `retention_age_seconds_max`, if set.
    pub age_seconds_max: Option<u64>,
    /// Instead of `retention_bytes_max`, if set.
    pub bytes_max: Option<u64>,
}

/// Tenants and their limits with commas between.
pub(super) struct TenantList;

const EXPECTED: &str = "expected tenants with limits, such as acme=age:30d bytes:50GiB, beta=age:off";
const OFF: &str = "off";

impl Kind for TenantList {
    type Value = Vec<TenantRetention>;

    fn shape(&self) -> &'static str {
        "TENANT=LIMITS,…"
    }

    fn parse(&self, text: &str) -> Result<Vec<TenantRetention>, String> {
        let mut found: Vec<TenantRetention> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let one = parse_one(part)?;
            if found.iter().any(|other| other.tenant == one.tenant) {
                return Err(format!("the tenant {} is there more than once", one.tenant));
            }
            found.push(one);
        }
        let tenants_max = limits::RETENTION_TENANTS_MAX;
        if found.len() as u64 > tenants_max {
            return Err(format!("expected at most {tenants_max} tenants"));
        }
        Ok(found)
    }

    fn print(&self, value: &Vec<TenantRetention>) -> String {
        value.iter().map(print_one).collect::<Vec<_>>().join(",")
    }
}

fn parse_one(text: &str) -> Result<TenantRetention, String> {
    let (tenant, given) = text.split_once('=').ok_or(EXPECTED)?;
    let tenant = tenant.trim().parse().map_err(|error| format!("{error}; {EXPECTED}"))?;
    let mut one = TenantRetention { tenant, age_seconds_max: None, bytes_max: None };
    for limit in given.split_whitespace() {
        let (name, value) = limit.split_once(':').ok_or(EXPECTED)?;
        let value = if value == OFF { "0" } else { value };
        let (place, value) = match name {
            "age" => (&mut one.age_seconds_max, AGE.parse(value)?),
            "bytes" => (&mut one.bytes_max, BYTES.parse(value)?),
            _ => return Err(EXPECTED.to_owned()),
        };
        if place.replace(value).is_some() {
            return Err(format!("{name} of the tenant {} is there more than once", one.tenant));
        }
    }
    if one.age_seconds_max.is_none() && one.bytes_max.is_none() {
        return Err(EXPECTED.to_owned());
    }
    Ok(one)
}

fn print_one(one: &TenantRetention) -> String {
    let print = |value: u64, text: String| if value == 0 { OFF.to_owned() } else { text };
    let age = one.age_seconds_max.map(|age| format!("age:{}", print(age, AGE.print(&age))));
    let bytes = one.bytes_max.map(|bytes| format!("bytes:{}", print(bytes, BYTES.print(&bytes))));
    let limits: Vec<String> = age.into_iter().chain(bytes).collect();
    format!("{}={}", one.tenant, limits.join(" "))
}

#[cfg(test)]
mod tests;
