//! External programs that stand for AWS, as real processes on loopback.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::connector::base_config;
use crate::install::{installed, installed_together, site_packages};
use crate::runtime_api::FunctionError;

/// An emulator that is not ready by then will never be.
const GUARD: Duration = Duration::from_secs(30);
/// How often an emulator is asked whether it is ready.
const POLL: Duration = Duration::from_millis(20);

/// The version of ministack that everything here is tested with.
pub const MINISTACK: &str = "1.5.33";

/// ministack: DynamoDB, streams, SNS, SQS, CloudWatch, CloudFormation, Lambda on one port.
#[derive(Debug)]
pub struct Ministack {
    server: Server,
}

impl Ministack {
    /// Installs it if need be, and starts one that is empty on a free port of loopback.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts it with more environment, like `("AUTH", "true")`.
    pub async fn start_with(env: &[(&str, &str)]) -> Self {
        let install = || installed("ministack", MINISTACK, &[]).join("bin/ministack");
        Self::start_program(install, &[], env).await
    }

    /// Starts one that deploys SAM templates, and lets each role do what its policy allows and nothing else.
    pub async fn start_for_sam() -> Self {
        // The transform that AWS's CloudFormation does itself.
        let packages = [("ministack", MINISTACK), ("aws-sam-translator", "1.115.0")];
        let install = move || installed_together(&packages).join("bin/python");
        Self::start_program(install, &["-c", include_str!("ministack_sam.py")], &[("AUTH", "true")]).await
    }

    async fn start_program(
        install: impl FnOnce() -> PathBuf + Send + 'static,
        arguments: &[&str],
        env: &[(&str, &str)],
    ) -> Self {
        let program = tokio::task::spawn_blocking(install).await.expect("ministack is installed");
        let server = Server::start(|address| {
            let mut command = Command::new(&program);
            command.args(arguments);
            command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", address.port().to_string());
            // The functions that it runs ask it, whatever port it got.
            command.env("AWS_ENDPOINT_URL", format!("http://{address}"));
            command.env("IOT_MTLS_ENABLED", "0").envs(env.iter().copied());
            command
        });
        let ministack = Self { server: server.await };
        ministack.server.ready("/_ministack/health").await;
        ministack
    }

    /// Where it listens, like `http://127.0.0.1:4566`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// A client configuration: dummy credentials, no retries, this endpoint.
    pub fn sdk_config(&self) -> SdkConfig {
        base_config().into_builder().endpoint_url(self.endpoint()).build()
    }

    /// Everything that it printed, and the functions that it ran.
    pub fn output(&self) -> String {
        self.server.output()
    }

    /// Forgets everything it holds.
    pub async fn reset(&self) {
        let (status, body) = self.server.post("/_ministack/reset", "").await;
        assert_eq!(status, 200, "{body}");
    }
}

/// AWS's own Runtime Interface Emulator around a bootstrap: what Lambda's base images carry.
#[derive(Debug)]
pub struct RuntimeInterfaceEmulator {
    server: Server,
}

impl RuntimeInterfaceEmulator {
    /// Installs it if need be, and starts it for this bootstrap with more environment.
    pub async fn start(bootstrap: &Path, env: &[(&str, &str)]) -> Self {
        let program = tokio::task::spawn_blocking(emulator).await.expect("the emulator is installed");
        let server = Server::start(|address| {
            let mut command = Command::new(&program);
            command.arg("--runtime-interface-emulator-address").arg(address.to_string());
            command.arg("--runtime-api-address").arg(free_address().to_string());
            command.arg(bootstrap).env("AWS_LAMBDA_FUNCTION_NAME", "millstream").envs(env.iter().copied());
            command
        });
        let emulator = Self { server: server.await };
        emulator.server.ready("/").await;
        emulator
    }

    /// Runs the function on one event.
    pub async fn invoke(&self, event: &Value) -> Result<Value, FunctionError> {
        let path = "/2015-03-31/functions/function/invocations";
        let (status, body) = self.server.post(path, &event.to_string()).await;
        let json: Value = serde_json::from_str(&body)
            .map_err(|error| FunctionError::new("Emulator", format!("{status} {body}: {error}")))?;
        match json["errorType"].as_str() {
            Some(kind) => Err(FunctionError::new(kind, json["errorMessage"].as_str().unwrap_or_default())),
            None => Ok(json),
        }
    }

    /// Everything that the emulator and the function printed.
    pub fn output(&self) -> String {
        self.server.output()
    }
}

/// The emulator's binary: aws-sam-cli carries it for both architectures; its dependencies are of no use here.
fn emulator() -> PathBuf {
    let home = installed("aws-sam-cli", "1.170.0", &["--no-deps"]);
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    };
    let binary = site_packages(&home).join(format!("samcli/local/rapid/aws-lambda-rie-{architecture}"));
    // A wheel does not keep the permission to execute.
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&binary, executable).unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    binary
}

/// A child process that serves HTTP on loopback. Dropping it kills it.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    child: std::sync::Mutex<Child>,
    log: File,
}

impl Server {
    async fn start(command: impl Fn(SocketAddr) -> Command) -> Self {
        let address = free_address();
        let log = tempfile::tempfile().expect("the temporary folder is writable");
        let handle = || Stdio::from(log.try_clone().expect("a file handle can be cloned"));
        let mut command = command(address);
        command.stdin(Stdio::null()).stdout(handle()).stderr(handle());
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { address, child: child.into(), log }
    }

    /// Asks until there is an answer of any kind; a process that has ended is told with what it printed.
    async fn ready(&self, path: &str) {
        let started = Instant::now();
        while self.request("GET", path, "").await.is_err() {
            let ended = self.child.lock().expect("nobody panics holding it").try_wait().expect("it is ours");
            assert!(ended.is_none() && started.elapsed() < GUARD, "not ready: {ended:?}\n{}", self.output());
            tokio::time::sleep(POLL).await;
        }
    }

    async fn post(&self, path: &str, body: &str) -> (u16, String) {
        let answer = tokio::time::timeout(GUARD, self.request("POST", path, body)).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer in {GUARD:?}\n{}", self.output()));
        answer.unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.output()))
    }

    /// HTTP/1.0, so that the answer ends with the connection and is not chunked.
    async fn request(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).await?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
        Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, body.to_owned()))
    }

    fn output(&self) -> String {
        let mut log = self.log.try_clone().expect("a file handle can be cloned");
        let mut text = Vec::new();
        log.rewind().and_then(|()| log.read_to_end(&mut text)).expect("a temporary file can be read");
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Server {
    /// An emulator starts functions of its own, which would outlive it: the whole process group goes.
    fn drop(&mut self) {
        let leader = self.child.lock().ok().and_then(|it| it.id());
        if let Some(group) = leader {
            let group = format!("-{group}");
            // Without a `kill` program the emulator itself still dies with its handle.
            drop(std::process::Command::new("kill").args(["-KILL", "--", &group]).output());
        }
    }
}

/// A port of loopback that is free just now. Another process may take it first: then the start fails loudly.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("the listener is bound")
}
