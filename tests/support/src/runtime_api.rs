//! A Lambda Runtime API on loopback, and a real function process that is served by it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::runtime_desk::Desk;

/// Nothing takes longer, or it has hung.
const GUARD: Duration = Duration::from_secs(30);

/// Why an invocation failed, as Lambda reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    /// `errorMessage`.
    pub message: String,
    /// `errorType`, like `Runtime.ExitError`, `Sandbox.Timedout`, or the function's own.
    pub error_type: String,
}

impl FunctionError {
    /// An error of this type.
    pub fn new(error_type: &str, message: impl Into<String>) -> Self {
        Self { message: message.into(), error_type: error_type.to_owned() }
    }

    /// Lambda refused to run the function, which counts as no attempt.
    pub fn throttled() -> Self {
        Self::new("TooManyRequestsException", "Rate Exceeded.")
    }
}

/// A Runtime API that waits for its function.
#[derive(Debug)]
pub struct RuntimeApi {
    address: String,
    desk: Desk,
    server: JoinHandle<()>,
}

/// A function: a process that is started again when it has died, as Lambda does.
#[derive(Debug)]
pub struct Function {
    api: RuntimeApi,
    bootstrap: PathBuf,
    env: Vec<(String, String)>,
    process: Mutex<Option<Process>>,
    output: Output,
}

#[derive(Debug)]
struct Process {
    pid: u32,
    /// Holds how the process ended, once it did.
    exit: watch::Receiver<Option<String>>,
    /// Dropping it kills the process.
    _kill: oneshot::Sender<()>,
}

#[derive(Debug, Clone, Default)]
struct Output {
    lines: Arc<Mutex<Vec<Line>>>,
    count: watch::Sender<usize>,
}

/// A line that the process printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whether it went to standard error.
    pub is_error: bool,
    /// The text, without its end of line.
    pub text: String,
}

impl RuntimeApi {
    /// Serves on a free port of loopback.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("the listener is bound").to_string();
        let desk = Desk::default();
        let routes = desk.routes();
        let server =
            tokio::spawn(async move { axum::serve(listener, routes).await.expect("loopback serves") });
        Self { address, desk, server }
    }

    /// Starts `bootstrap` with Lambda's environment and the caller's, and nothing of this process's own.
    pub fn spawn(self, bootstrap: &Path, env: &[(&str, &str)]) -> Function {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let function = Function {
            api: self,
            bootstrap: bootstrap.to_owned(),
            env,
            process: Mutex::default(),
            output: Output::default(),
        };
        function.ensure_alive();
        function
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Function {
    /// Waits until the process asks for its first event: it has started.
    pub async fn ready(&self) -> Result<(), FunctionError> {
        let exit = self.ensure_alive();
        let mut asked = self.api.desk.asked();
        tokio::select! {
            _ = asked.wait_for(|it| *it > 0) => Ok(()),
            how = exited(exit) => Err(self.died(&how)),
            () = tokio::time::sleep(GUARD) => Err(FunctionError::new("Guard", "the function never asked for work")),
        }
    }

    /// Runs the function on one event. At its deadline the process is killed, as Lambda does; a process that
    /// has died is started again first. Invocations of one function are one after another.
    pub async fn invoke(&self, event: &Value, deadline: Duration) -> Result<Value, FunctionError> {
        let exit = self.ensure_alive();
        let (id, reply) = self.api.desk.hand_out(event, deadline);
        let outcome = tokio::select! {
            biased;
            reply = reply => reply.expect("the desk keeps the sender until it answers"),
            how = exited(exit) => Err(self.died(&how)),
            () = tokio::time::sleep(deadline.min(GUARD)) => {
                self.kill();
                Err(timed_out(deadline))
            }
        };
        self.api.desk.forget(&id);
        outcome
    }

    /// What the process printed so far.
    pub fn lines(&self) -> Vec<Line> {
        self.output.lines.lock().expect("no reader panics").clone()
    }

    /// The first line that matches, as soon as it is printed. Panics when none comes.
    pub async fn line(&self, matches: impl Fn(&Line) -> bool) -> Line {
        let mut count = self.output.count.subscribe();
        let found = tokio::time::timeout(GUARD, async {
            loop {
                count.borrow_and_update();
                if let Some(line) = self.lines().into_iter().find(|it| matches(it)) {
                    return line;
                }
                count.changed().await.expect("this function holds the sender");
            }
        });
        found.await.unwrap_or_else(|_| panic!("no such line: {:#?}", self.lines()))
    }

    /// The memory that the process holds just now, `VmRSS`, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that the process ever held, `VmHWM`, in KiB.
    pub fn peak_resident_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Kills the process; the next invocation starts another.
    pub fn kill(&self) {
        self.process().take();
    }

    fn status(&self, name: &str) -> u64 {
        let pid = self.process().as_ref().expect("the process is alive").pid;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is alive");
        let line = status.lines().find_map(|it| it.strip_prefix(name)).expect("Linux reports it");
        line.trim().trim_end_matches(" kB").parse().expect("it is a number of KiB")
    }

    fn ensure_alive(&self) -> watch::Receiver<Option<String>> {
        let mut process = self.process();
        if let Some(alive) = process.as_ref().filter(|it| it.exit.borrow().is_none()) {
            return alive.exit.clone();
        }
        self.api.desk.new_process();
        let started = self.start();
        let exit = started.exit.clone();
        *process = Some(started);
        exit
    }

    fn start(&self) -> Process {
        let mut command = Command::new(&self.bootstrap);
        command.env_clear().envs(lambda_environment(&self.api.address));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let started = command.spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{}: {error}", self.bootstrap.display()));
        let readers = [
            self.output.follow(child.stdout.take().expect("it is piped"), false),
            self.output.follow(child.stderr.take().expect("it is piped"), true),
        ];
        let (ended, exit) = watch::channel(None);
        let (kill, killed) = oneshot::channel();
        let pid = child.id().expect("it was just started");
        tokio::spawn(watch_over(child, killed, readers, ended));
        Process { pid, exit, _kill: kill }
    }

    fn died(&self, how: &str) -> FunctionError {
        let init_error = self.api.desk.take_init_error();
        init_error.unwrap_or_else(|| FunctionError::new("Runtime.ExitError", format!("process ended: {how}")))
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().expect("nobody panics while holding the process")
    }
}

/// What Lambda sets, and what `lambda_runtime` panics without.
fn lambda_environment(address: &str) -> [(&'static str, String); 9] {
    [
        ("AWS_LAMBDA_RUNTIME_API", address.to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", "millstream".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "test".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/millstream".to_owned()),
        ("AWS_REGION", crate::connector::REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIDTEST".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
    ]
}

async fn watch_over(
    mut child: Child,
    killed: oneshot::Receiver<()>,
    readers: [JoinHandle<()>; 2],
    ended: watch::Sender<Option<String>>,
) {
    tokio::select! {
        _ = child.wait() => {}
        _ = killed => child.start_kill().expect("the process is ours"),
    }
    let status = child.wait().await.expect("the process is ours");
    // The last lines of a process belong to what its end is told with.
    for reader in readers {
        reader.await.expect("a reader does not panic");
    }
    ended.send_replace(Some(status.to_string()));
}

async fn exited(mut exit: watch::Receiver<Option<String>>) -> String {
    let how = exit.wait_for(Option::is_some).await.map(|it| it.clone());
    how.ok().flatten().unwrap_or_else(|| "killed".to_owned())
}

fn timed_out(deadline: Duration) -> FunctionError {
    if deadline > GUARD {
        return FunctionError::new("Guard", format!("no answer within {GUARD:?}"));
    }
    FunctionError::new(
        "Sandbox.Timedout",
        format!("Task timed out after {:.2} seconds", deadline.as_secs_f64()),
    )
}

impl Output {
    fn follow(&self, pipe: impl AsyncRead + Unpin + Send + 'static, is_error: bool) -> JoinHandle<()> {
        let output = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(text)) = lines.next_line().await {
                output.lines.lock().expect("no reader panics").push(Line { is_error, text });
                output.count.send_modify(|it| *it += 1);
            }
        })
    }
}
