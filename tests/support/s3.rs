//! A real S3 server (versitygw) with versioning and object lock.

use super::process::{Process, command};
use super::{cache, free_port, wait_until};
use std::path::PathBuf;

/// A running S3 server; it ends and its data go when this is dropped.
#[derive(Debug)]
pub struct S3 {
    process: Process,
    directory: tempfile::TempDir,
    /// Its TCP port on 127.0.0.1.
    pub port: u16,
}

/// The credentials it knows.
pub const ACCESS_KEY: &str = "davit-test";
/// Their secret.
pub const SECRET_KEY: &str = "davit-test-secret";
/// Its region.
pub const REGION: &str = "us-east-1";

/// Where `tests/servers/install.sh` put it.
pub fn versitygw() -> PathBuf {
    let folder = std::fs::read_dir(cache())
        .expect("the cache of test servers: run tests/servers/install.sh")
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("versitygw-"));
    folder.expect("versitygw in the cache: run tests/servers/install.sh").join("versitygw")
}

/// A plain SDK client of such a server.
pub fn client_at(endpoint: &str) -> aws_sdk_s3::Client {
    let credentials = aws_sdk_s3::config::Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .credentials_provider(credentials)
        .region(aws_sdk_s3::config::Region::new(REGION))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

impl S3 {
    /// Starts one without buckets.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("davit-test-s3").tempdir_in("/tmp").unwrap();
        let (data, versions) = (directory.path().join("data"), directory.path().join("versions"));
        std::fs::create_dir(&data).unwrap();
        std::fs::create_dir(&versions).unwrap();
        std::fs::create_dir(directory.path().join("users")).unwrap();
        let port = free_port();
        let mut gateway = command(&versitygw(), None, "KILL");
        gateway
            .env("ROOT_ACCESS_KEY", ACCESS_KEY)
            .env("ROOT_SECRET_KEY", SECRET_KEY)
            .args(["--port", &format!("127.0.0.1:{port}"), "--region", REGION, "--iam-dir"])
            .arg(directory.path().join("users"))
            .args(["posix", "--versioning-dir"])
            .args([&versions, &data]);
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let process = Process::start(gateway, log, "-TERM");
        wait_until(20, "the S3 server listening", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { process, directory, port }
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The standard AWS variables that lead a client to it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL_S3", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// Makes a user who may only read and list a bucket; gives the variables that make a client that user.
    pub async fn reader_of(&self, bucket: &str) -> Vec<(&'static str, String)> {
        let user = format!("reader-of-{bucket}");
        let (objects, folder) = (["s3:GetObject", "s3:GetObjectVersion"], ["s3:ListBucket", "s3:ListBucketVersions"]);
        self.user_of(bucket, &user, &objects, &folder).await
    }

    /// Makes a user who may do this and no more with the objects of a bucket and with the bucket; the bucket's policy names
    /// nobody else after it.
    pub async fn user_of(
        &self,
        bucket: &str,
        user: &str,
        objects: &[&str],
        folder: &[&str],
    ) -> Vec<(&'static str, String)> {
        let made = std::process::Command::new(versitygw())
            .args(["admin", "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--endpoint-url", &self.endpoint()])
            .args(["create-user", "--access", user, "--secret", user, "--role", "user"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let allowed = [(objects, format!("arn:aws:s3:::{bucket}/*")), (folder, format!("arn:aws:s3:::{bucket}"))];
        let statements: Vec<serde_json::Value> = allowed
            .into_iter()
            .filter(|(actions, _)| !actions.is_empty())
            .map(|(actions, resource)| {
                serde_json::json!({"Effect": "Allow", "Principal": user, "Action": actions, "Resource": resource})
            })
            .collect();
        let policy = serde_json::json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        self.client().put_bucket_policy().bucket(bucket).policy(policy).send().await.unwrap();
        let own = |(name, value): (&'static str, String)| match name {
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => (name, user.to_owned()),
            _ => (name, value),
        };
        self.environment().into_iter().map(own).collect()
    }

    /// Where the objects of a bucket lie as files.
    pub fn bucket_dir(&self, bucket: &str) -> PathBuf {
        self.directory.path().join("data").join(bucket)
    }

    /// A plain SDK client.
    pub fn client(&self) -> aws_sdk_s3::Client {
        client_at(&self.endpoint())
    }

    /// Makes a bucket without versions.
    pub async fn plain_bucket(&self, bucket: &str) {
        self.client().create_bucket().bucket(bucket).send().await.unwrap();
    }

    /// Makes a bucket with versioning and object lock.
    pub async fn locking_bucket(&self, bucket: &str) {
        self.client().create_bucket().bucket(bucket).object_lock_enabled_for_bucket(true).send().await.unwrap();
    }
}
