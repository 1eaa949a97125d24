//! `millstream health`: asks a poller on this host whether it lives, for containers that have nothing else to ask with.
//! Exit codes: 0 it lives, 1 it does not answer, or not so, 2 wrong usage.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use millstream_projections::config::poller;

use super::Failure;
use crate::output::print;

/// How long each step may take: below the 3 s that the images give a check, which else ends before it can say why.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is asked for.
const PATH: &str = "/healthz";
/// More than any answer to it.
const MOST: u64 = 64 * 1024;

/// What `millstream health` is told.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Where the poller answers: what `run --listen` or the config's `[poller] listen` says
    #[arg(long, value_name = "ADDRESS", default_value_t = poller::ADDRESS)]
    at: SocketAddr,
}

/// Asks once.
pub(crate) fn run(args: &HealthArgs) -> Result<ExitCode, Failure> {
    let answer = ask(args.at).map_err(|error| {
        Failure::Failed(format!(
            "no answer at {}: {error}: --at says where `millstream run` listens",
            args.at
        ))
    })?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" => {
            print("alive\n")?;
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            let line = answer.lines().next().unwrap_or_default().escape_debug();
            Err(Failure::Failed(format!("http://{}{PATH} answers `{line}`, not 200", args.at)))
        }
    }
}

fn ask(at: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {PATH} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
