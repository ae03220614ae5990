//! Who the spans belong to. The pattern is strict because the name goes into paths, cache keys,
//! logs and metric labels: it is checked once, here, and then carried as a type.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A tenant's name: 1 to 64 characters of `A-Z a-z 0-9 _ -`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

/// The longest name, in bytes.
pub const TENANT_ID_BYTES_MAX: usize = 64;

/// A text that is no tenant's name. The text itself is not repeated: it may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tenant's name has 1 to 64 characters out of A-Z, a-z, 0-9, '_' and '-'")]
pub struct ParseTenantError;

impl TenantId {
    /// The tenant of requests that name none.
    pub const DEFAULT_NAME: &'static str = "default";

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self(Arc::from(Self::DEFAULT_NAME))
    }
}

impl FromStr for TenantId {
    type Err = ParseTenantError;

    fn from_str(text: &str) -> Result<Self, ParseTenantError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let valid = (1..=TENANT_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
        if valid { Ok(Self(Arc::from(text))) } else { Err(ParseTenantError) }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
