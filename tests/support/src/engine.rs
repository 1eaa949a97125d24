//! The DynamoDB JSON protocol on top of dynoxide's Rust calls, and the refusals DynamoDB would send.

use dynoxide::{Database, DynoxideError};
use serde_json::{Value, json};

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

use crate::arithmetic;
use crate::connector::{Call, Reply, Service};
use crate::faults::Fault;
use crate::lineage::Lineage;
use crate::names;

const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// dynoxide, spoken to in the protocol of both DynamoDB endpoints.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) database: Database,
    pub(crate) lineage: Lineage,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

/// A refusal of DynamoDB: its status and its JSON body.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Refused {
    pub(crate) fn new(code: &str, message: &str) -> Self {
        let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message});
        Self { status: 400, body }
    }
}

impl From<DynoxideError> for Refused {
    fn from(error: DynoxideError) -> Self {
        let body = serde_json::from_str(&error.to_json()).expect("dynoxide writes JSON");
        Self { status: error.status_code(), body }
    }
}

impl Engine {
    /// Performs one operation, with what dynoxide does differently from AWS mended.
    pub(crate) fn perform(&self, operation: &str, body: &Value) -> Result<Value, Refused> {
        match operation {
            "UpdateTable" if !body["StreamSpecification"].is_null() => {
                self.lineage.before_stream_change(&self.database, body)?;
                let mut response = self.call(operation, body)?;
                self.lineage.after_table_change(&self.database, &response["TableDescription"]);
                names::mend_names(&mut response);
                Ok(response)
            }
            "CreateTable" => {
                let mut response = self.call(operation, body)?;
                self.lineage.after_table_change(&self.database, &response["TableDescription"]);
                names::mend_names(&mut response);
                Ok(response)
            }
            "DeleteTable" => {
                let mut response = self.call(operation, body)?;
                self.lineage.after_delete(body["TableName"].as_str().unwrap_or_default());
                names::mend_names(&mut response);
                Ok(response)
            }
            "UpdateTable" | "DescribeTable" => {
                let mut response = self.call(operation, body)?;
                names::mend_names(&mut response);
                Ok(response)
            }
            "ListStreams" => Ok(self.lineage.list(body)),
            "DescribeStream" => self.lineage.describe(body),
            "GetShardIterator" => self.lineage.iterator(&self.database, body),
            "GetRecords" => self.lineage.records(body, |inner| self.call("GetRecords", inner)),
            "TransactWriteItems" => {
                let read = |table: &Value, key: &Value| {
                    let item = self.call("GetItem", &json!({ "TableName": table, "Key": key }));
                    item.map_or(Value::Null, |mut found| found["Item"].take())
                };
                match arithmetic::overflow(body, read) {
                    Some(refused) => Err(refused),
                    None => Ok(self.call(operation, body)?),
                }
            }
            _ => Ok(self.call(operation, body)?),
        }
    }

    fn call(&self, operation: &str, body: &Value) -> Result<Value, DynoxideError> {
        macro_rules! run {
            ($method:ident) => {{
                let request = serde_json::from_value(body.clone())
                    .map_err(|error| DynoxideError::SerializationException(error.to_string()))?;
                serde_json::to_value(self.database.$method(request)?)
                    .map_err(|error| DynoxideError::InternalServerError(error.to_string()))
            }};
        }
        match operation {
            "BatchExecuteStatement" => run!(batch_execute_statement),
            "BatchGetItem" => run!(batch_get_item),
            "BatchWriteItem" => run!(batch_write_item),
            "CreateTable" => run!(create_table),
            "DeleteItem" => run!(delete_item),
            "DeleteTable" => run!(delete_table),
            "DescribeTable" => run!(describe_table),
            "DescribeTimeToLive" => run!(describe_time_to_live),
            "ExecuteStatement" => run!(execute_statement),
            "ExecuteTransaction" => run!(execute_transaction),
            "GetItem" => run!(get_item),
            "GetRecords" => run!(get_records),
            "ListTables" => run!(list_tables),
            "PutItem" => run!(put_item),
            "Query" => run!(query),
            "Scan" => run!(scan),
            "TransactGetItems" => run!(transact_get_items),
            "TransactWriteItems" => run!(transact_write_items),
            "UpdateItem" => run!(update_item),
            "UpdateTable" => run!(update_table),
            "UpdateTimeToLive" => run!(update_time_to_live),
            unknown => Err(DynoxideError::ValidationException(format!("the double lacks {unknown}"))),
        }
    }
}

impl Service for Engine {
    fn read(&self, request: &HttpRequest) -> Call {
        let (operation, body) = read_json(request);
        Call { tables: tables_of(&body), operation, body }
    }

    fn answer(&self, call: &Call) -> Reply {
        match self.perform(&call.operation, &call.body) {
            Ok(body) => reply(200, body.to_string()),
            Err(refused) => reply(refused.status, refused.body.to_string()),
        }
    }

    fn answer_partly(&self, _call: &Call, fault: &Fault) -> Reply {
        panic!("{fault:?} is for SNS, not for DynamoDB")
    }

    fn refuse(&self, call: &Call, fault: &Fault) -> Reply {
        refusal(call, fault)
    }
}

/// The operation of a request to a DynamoDB endpoint, and its body.
pub(crate) fn read_json(request: &HttpRequest) -> (String, Value) {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let bytes = request.body().bytes().expect("the SDK sends JSON in memory");
    (operation, serde_json::from_slice(bytes).expect("the SDK sends valid JSON"))
}

/// Says no as a DynamoDB endpoint does, without applying anything.
pub(crate) fn refusal(call: &Call, fault: &Fault) -> Reply {
    const CORAL: &str = "com.amazon.coral";
    let own = |code: &str| format!("com.amazonaws.dynamodb.v20120810#{code}");
    let (status, kind) = match fault {
        Fault::Throttle => (400, own("ProvisionedThroughputExceededException")),
        Fault::Throttling => (400, format!("{CORAL}.availability#ThrottlingException")),
        Fault::LimitExceeded => (400, own("LimitExceededException")),
        Fault::InternalError => (500, own("InternalServerError")),
        Fault::Unavailable => (503, format!("{CORAL}.availability#ServiceUnavailableException")),
        Fault::TransactionConflict => return conflict(call),
        Fault::Cancelled(code) => return cancelled(call, code),
        Fault::AccessDenied => (400, format!("{CORAL}.service#AccessDeniedException")),
        Fault::TableMissing => (400, own("ResourceNotFoundException")),
        Fault::Validation => (400, format!("{CORAL}.validate#ValidationException")),
        Fault::ExpiredIterator => (400, own("ExpiredIteratorException")),
        Fault::TrimmedData => (400, own("TrimmedDataAccessException")),
        Fault::Answer(status, body) => {
            return Reply { status: *status, content_type: CONTENT_TYPE, body: (*body).to_owned() };
        }
        Fault::LoseReply
        | Fault::Reset
        | Fault::Timeout
        | Fault::Crash
        | Fault::CrashAfter
        | Fault::Delay(_)
        | Fault::FailEntries { .. } => panic!("{fault:?} is not an answer"),
    };
    reply(status, json!({"__type": kind, "message": format!("scripted: {fault:?}")}).to_string())
}

pub(crate) fn reply(status: u16, body: String) -> Reply {
    Reply { status, content_type: CONTENT_TYPE, body }
}

fn conflict(call: &Call) -> Reply {
    if call.body["TransactItems"].is_array() {
        return cancelled(call, "TransactionConflict");
    }
    let refused = Refused::new("TransactionConflictException", "Transaction is ongoing for the item");
    reply(refused.status, refused.body.to_string())
}

fn cancelled(call: &Call, code: &str) -> Reply {
    let actions = call.body["TransactItems"].as_array().map_or(1, Vec::len);
    let reasons: Vec<Value> = (0..actions)
        .map(|index| match index {
            0 => json!({"Code": code, "Message": format!("scripted: {code}")}),
            _ => json!({"Code": "None"}),
        })
        .collect();
    let codes =
        reasons.iter().map(|it| it["Code"].as_str().unwrap_or_default()).collect::<Vec<_>>().join(", ");
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"),
        "CancellationReasons": reasons,
    });
    reply(400, body.to_string())
}

/// Every table that a request names, however it names it, once each.
fn tables_of(body: &Value) -> Vec<String> {
    let mut tables: Vec<String> = Vec::new();
    let direct = body["TableName"].as_str().map(str::to_owned);
    let streamed = body["StreamArn"].as_str().and_then(names::table_of_arn);
    let iterated = body["ShardIterator"].as_str().and_then(names::table_of_iterator);
    let transacted = body["TransactItems"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .flat_map(|action| action.values())
        .filter_map(|action| action["TableName"].as_str().map(str::to_owned));
    let batched = body["RequestItems"].as_object().into_iter().flat_map(|items| items.keys().cloned());
    let all = direct.into_iter().chain(streamed).chain(iterated).chain(transacted).chain(batched);
    for table in all {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    tables
}
