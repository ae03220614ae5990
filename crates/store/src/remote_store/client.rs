//! The object_store crate's clients, with credentials from the environment, and with the limits that
//! hold here.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, Result, RetryConfig};
use tracelake_model::limits;

use crate::location::{Bucket, Provider, StorePlace};

/// The pause before the second try; it doubles, with some chance in it.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// An idle connection is closed before servers close it: a request on one that is just being closed
/// fails without need.
const IDLE: &str = "15 s";

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { init_backoff: PAUSE_FIRST, max_backoff: PAUSE_MAX, base: 2.0 },
        max_retries: usize::try_from(limits::STORE_RETRIES_MAX).unwrap_or(usize::MAX),
        retry_timeout: Duration::from_secs(limits::STORE_RETRY_SECONDS_MAX),
    }
}

/// What all clients are told. Where the environment names a proxy, that stays.
fn client_options(place: &StorePlace) -> Vec<(ClientConfigKey, String)> {
    let mut options = vec![
        (ClientConfigKey::ConnectTimeout, format!("{} s", limits::STORE_CONNECT_SECONDS_MAX)),
        (ClientConfigKey::Timeout, format!("{} s", limits::STORE_REQUEST_SECONDS_MAX)),
        (ClientConfigKey::PoolIdleTimeout, IDLE.to_owned()),
        (ClientConfigKey::UserAgent, concat!("tracelake/", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    if place.endpoint.starts_with("http://") {
        options.push((ClientConfigKey::AllowHttp, "true".to_owned()));
    }
    options
}

pub(super) fn build(bucket: &Bucket, place: &StorePlace) -> Result<Arc<dyn ObjectStore>> {
    match bucket.provider {
        Provider::S3 => {
            let mut builder = AmazonS3Builder::from_env()
                .with_bucket_name(&bucket.name)
                .with_virtual_hosted_style_request(!place.path_style)
                // The manifest hangs on it.
                .with_conditional_put(S3ConditionalPut::ETagMatch)
                .with_retry(retry());
            for (key, value) in client_options(place) {
                builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
            }
            if !place.region.is_empty() {
                builder = builder.with_region(&place.region);
            }
            if !place.endpoint.is_empty() {
                builder = builder.with_endpoint(s3_endpoint(bucket, place));
            }
            Ok(Arc::new(builder.build()?))
        }
        Provider::Gcs => {
            let mut builder =
                GoogleCloudStorageBuilder::from_env().with_bucket_name(&bucket.name).with_retry(retry());
            for (key, value) in client_options(place) {
                builder = builder.with_config(GoogleConfigKey::Client(key), value);
            }
            if !place.endpoint.is_empty() {
                builder = builder.with_base_url(&place.endpoint);
            }
            Ok(Arc::new(builder.build()?))
        }
        Provider::Azure => {
            let mut builder =
                MicrosoftAzureBuilder::from_env().with_container_name(&bucket.name).with_retry(retry());
            for (key, value) in client_options(place) {
                builder = builder.with_config(AzureConfigKey::Client(key), value);
            }
            if !place.endpoint.is_empty() {
                builder = builder.with_endpoint(place.endpoint.clone());
            }
            Ok(Arc::new(builder.build()?))
        }
    }
}

/// The client takes an endpoint with the bucket in its host as it is, so the bucket is put there.
fn s3_endpoint(bucket: &Bucket, place: &StorePlace) -> String {
    match place.endpoint.split_once("://") {
        Some((scheme, host)) if !place.path_style && !host.starts_with(&format!("{}.", bucket.name)) => {
            format!("{scheme}://{}.{host}", bucket.name)
        }
        _ => place.endpoint.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(endpoint: &str, path_style: bool) -> String {
        let bucket = Bucket {
            provider: Provider::S3,
            name: "traces".to_owned(),
            prefix: object_store::path::Path::default(),
        };
        let place = StorePlace { endpoint: endpoint.to_owned(), path_style, ..StorePlace::default() };
        s3_endpoint(&bucket, &place)
    }

    #[test]
    fn a_virtual_hosted_bucket_is_in_the_host_once() {
        assert_eq!(endpoint("https://s3.example:1", true), "https://s3.example:1");
        assert_eq!(endpoint("https://s3.example:1", false), "https://traces.s3.example:1");
        assert_eq!(endpoint("https://traces.s3.example", false), "https://traces.s3.example");
    }
}
