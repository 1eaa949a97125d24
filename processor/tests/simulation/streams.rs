//! The stream as one worker reaches it: the real client, over the worker's wires.

use std::sync::Arc;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::config::Builder;
use aws_smithy_runtime_api::client::auth::AuthSchemeId;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use millstream_test_support::streams::ScriptedStreams;

use crate::network::{Channel, Trouble, Wires};

const NO_AUTH_SCHEME_ID: AuthSchemeId = AuthSchemeId::new("noAuth");
const THROTTLED: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException"}"#;

/// A client whose every request goes over these wires.
pub(crate) fn client(server: &ScriptedStreams, wires: &Arc<Wires>) -> Client {
    let config = server.sdk_config();
    let (http, wires) = (config.http_client().unwrap(), wires.clone());
    let gated = http_client_fn(move |settings, components| {
        let inner = http.http_connector(settings, components);
        SharedHttpConnector::new(Connector { inner, wires: wires.clone() })
    });
    // Nobody checks signatures here, and they are a third of what a request costs.
    let config = Builder::from(&config.into_builder().http_client(gated).build());
    let unsigned = config.allow_no_auth().auth_scheme_preference([NO_AUTH_SCHEME_ID]);
    Client::from_conf(unsigned.build())
}

struct Connector {
    inner: SharedHttpConnector,
    wires: Arc<Wires>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (inner, wires) = (self.inner.clone(), self.wires.clone());
        HttpConnectorFuture::new(async move {
            let sent = wires.pass(Channel::Streams, move || async move { inner.call(request).await }).await;
            match sent {
                Ok(answer) => answer,
                Err(Trouble::Throttled) => {
                    let mut refused = HttpResponse::new(400.try_into().unwrap(), SdkBody::from(THROTTLED));
                    refused.headers_mut().insert("content-type", "application/x-amz-json-1.0");
                    Ok(refused)
                }
                Err(Trouble::TimedOut) => Err(ConnectorError::timeout("timed out".into())),
                Err(trouble @ (Trouble::Reset | Trouble::Lost)) => {
                    Err(ConnectorError::io(format!("connection reset: {trouble:?}").into()))
                }
            }
        })
    }
}
