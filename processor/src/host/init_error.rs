//! Tells Lambda why a function cannot start, so that its error says more than that the process has ended.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The address of the Runtime API, which Lambda sets.
const API: &str = "AWS_LAMBDA_RUNTIME_API";
/// The Runtime API is on the same machine; what it does not take by then is only in the log.
const TIME_OUT: Duration = Duration::from_secs(1);
/// Lambda's documented kind for a wrong configuration.
const KIND: &str = "Runtime.ConfigInvalid";

/// Reports that the function cannot start. Outside of Lambda there is nobody to tell.
pub(crate) fn report(message: &str) {
    let Ok(api) = std::env::var(API) else { return };
    if let Err(error) = post(&api, message) {
        tracing::warn!(cause = %error, "Lambda could not be told");
    }
}

fn post(api: &str, message: &str) -> std::io::Result<()> {
    let body =
        serde_json::json!({ "errorMessage": message, "errorType": KIND, "stackTrace": [] }).to_string();
    let mut stream = TcpStream::connect(api)?;
    stream.set_read_timeout(Some(TIME_OUT))?;
    stream.set_write_timeout(Some(TIME_OUT))?;
    write!(
        stream,
        "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nHost: {api}\r\nContent-Type: application/json\r\n\
         Lambda-Runtime-Function-Error-Type: {KIND}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    // Whatever the answer is: with it the report has been taken.
    let mut answer = [0; 64];
    stream.read(&mut answer).map(drop)
}
