//! The connector that asks before it sends, and answers itself what is not allowed.

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;

use super::request::{Request, Service};
use super::{Authority, Right};

pub(super) fn judged(config: &SdkConfig, authority: Authority) -> SdkConfig {
    judged_each([config; 3], authority)
}

/// One configuration for what stands in several places: tables, topics, and queues.
pub(super) fn judged_each(configs: [&SdkConfig; 3], authority: Authority) -> SdkConfig {
    // What has no client of its own speaks to a server on loopback.
    let inner = configs.map(|config| {
        config.http_client().unwrap_or_else(|| aws_smithy_http_client::Builder::new().build_http())
    });
    let client = http_client_fn(move |settings, components| {
        let [tables, topics, queues] = inner.each_ref().map(|it| it.http_connector(settings, components));
        SharedHttpConnector::new(Gate { tables, topics, queues, authority: authority.clone() })
    });
    configs[0].clone().into_builder().http_client(client).build()
}

#[derive(Debug)]
struct Gate {
    tables: SharedHttpConnector,
    topics: SharedHttpConnector,
    queues: SharedHttpConnector,
    authority: Authority,
}

impl Gate {
    fn inner(&self, service: Service) -> &SharedHttpConnector {
        match service {
            Service::DynamoDb | Service::S3 => &self.tables,
            Service::Sns => &self.topics,
            Service::Sqs => &self.queues,
        }
    }
}

impl HttpConnector for Gate {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let asked = Request::read(&request);
        if let Some(lacking) = self.authority.judge(asked.rights(&self.authority)) {
            return HttpConnectorFuture::ready(Ok(denied(asked.service, &lacking)));
        }
        let (answer, authority) = (self.inner(asked.service).call(request), self.authority.clone());
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            asked.learn(&authority, answer.body().bytes().unwrap_or_default());
            Ok(answer)
        })
    }
}

/// As each service says it.
fn denied(service: Service, lacking: &Right) -> HttpResponse {
    let message = format!(
        "User: arn:aws:iam::000000000000:user/test is not authorized to perform: {} on resource: {}",
        lacking.action, lacking.resource
    );
    let json = |code: &str| {
        let body = serde_json::json!({ "__type": code, "message": message });
        (400, "application/x-amz-json-1.0", body.to_string())
    };
    let xml = |status: u16, body: String| (status, "text/xml", body);
    let (status, content_type, body) = match service {
        Service::DynamoDb => json("com.amazon.coral.service#AccessDeniedException"),
        Service::Sqs => json("com.amazon.coral.service#AccessDenied"),
        Service::Sns => xml(
            403,
            format!(
                "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type>\
                 <Code>AuthorizationError</Code><Message>{message}</Message></Error></ErrorResponse>"
            ),
        ),
        Service::S3 => {
            xml(403, format!("<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"))
        }
    };
    let status = status.try_into().expect("an HTTP status");
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    response.headers_mut().insert("content-type", content_type);
    response
}
