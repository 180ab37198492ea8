//! From the AWS environment, a profile and our own settings to a client that leaves trying again to us.

use super::super::StoreError;
use super::super::url::S3Options;
use aws_config::{AppName, BehaviorVersion, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, ConfigBag, Credentials, Intercept, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    RuntimeComponents, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::BoxError;
use aws_types::service_config::ServiceConfigKey;
use jiff::Timestamp;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longer than this no connection takes to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// Asked first when nothing says where the bucket is: it knows where every bucket of AWS is.
const FIRST_REGION: &str = "us-east-1";

/// A client, and what was found out while making it.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) server_time: ServerTime,
    /// Whether somebody chose the region, so that another one is an error and not a discovery.
    pub(super) region_is_set: bool,
}

/// Makes a client; asks nothing of the store yet.
pub(super) async fn connect(options: &S3Options, region: Option<&str>) -> Result<Connection, StoreError> {
    let settings = load(options).await;
    let chosen = region.or(options.region.as_deref()).map(|name| Region::new(name.to_owned()));
    let region_is_set = chosen.is_some() || settings.region().is_some();
    let region = chosen.or_else(|| settings.region().cloned()).unwrap_or_else(|| Region::from_static(FIRST_REGION));
    let endpoint = options.endpoint.clone().or_else(|| endpoint_of(&settings));
    if let Some(endpoint) = &endpoint
        && !(endpoint.starts_with("http://") || endpoint.starts_with("https://"))
    {
        return Err(StoreError::Misconfigured(format!("the endpoint {endpoint:?} does not begin with https://")));
    }
    let server_time = ServerTime::default();
    let mut builder = Builder::from(&settings)
        .region(region)
        // A server of one's own rarely has a name for each bucket.
        .force_path_style(endpoint.is_some())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
        // Our own limits tell a slow line from a dead one; the SDK's abort an upload that waits for its turn.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Bodies go out with a SHA-256 that exists already, and are checked against the manifest when they return.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // Names and retention are made of this clock: a wrong one must be seen, not worked around.
        .disable_clock_skew_correction(Some(true))
        .interceptor(server_time.clone());
    builder.set_endpoint_url(endpoint);
    if let Some((id, secret)) = &options.keys {
        builder = builder.credentials_provider(Credentials::new(id, secret.reveal(), None, None, "settings"));
    }
    Ok(Connection { client: Client::from_conf(builder.build()), server_time, region_is_set })
}

async fn load(options: &S3Options) -> SdkConfig {
    // Without the instance metadata service, which costs seconds where there is none: a bucket's region is found
    // by asking the bucket.
    let region = aws_config::meta::region::RegionProviderChain::first_try(
        aws_config::environment::region::EnvironmentVariableRegionProvider::new(),
    );
    let profile = aws_config::profile::region::ProfileFileRegionProvider::builder();
    let profile = match &options.profile {
        Some(name) => profile.profile_name(name),
        None => profile,
    };
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(region.or_else(profile.build()));
    if let Some(name) = &options.profile {
        loader = loader.profile_name(name);
    }
    if let Ok(name) = AppName::new("davit") {
        loader = loader.app_name(name);
    }
    loader.load().await
}

/// `AWS_ENDPOINT_URL_S3`, a profile's `services` section, or the endpoint of all services.
fn endpoint_of(settings: &SdkConfig) -> Option<String> {
    let key =
        ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok()?;
    let own = settings.service_config().and_then(|config| config.load_config(key));
    own.or_else(|| settings.endpoint_url().map(ToOwned::to_owned))
}

/// Remembers the `Date` of the last answer.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerTime(Arc<Mutex<Option<Timestamp>>>);

impl ServerTime {
    /// The time the last answer told.
    pub(super) fn last(&self) -> Option<Timestamp> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for ServerTime {
    fn name(&self) -> &'static str {
        "ServerTime"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(time) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(time.timestamp());
        }
        Ok(())
    }
}

/// Signs a body by the hash it already has; the signer would read all of it again.
#[derive(Debug)]
pub(super) struct KnownHash(pub(super) String);

impl Intercept for KnownHash {
    fn name(&self) -> &'static str {
        "KnownHash"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let hash = aws_runtime::auth::PayloadSigningOverride::Precomputed(self.0.clone());
        config.interceptor_state().store_put(hash);
        Ok(())
    }
}
