//! Amazon's services besides S3, on the server that `tests/with_s3.py` started: asked as no client
//! library would, for what the host has no need to ask.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

/// What a subscriber of a topic was told.
pub struct Told {
    pub subject: String,
    pub text: String,
}

/// What a process of a test needs to find the server, if there is one.
pub fn environment() -> Vec<(&'static str, String)> {
    let names = ["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    names.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?))).collect()
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set by tests/with_s3.py"))
}

/// Asks a service that takes and gives JSON.
pub fn json(service: &str, target: &str, body: &Value) -> Value {
    let kind = "application/x-amz-json-1.1";
    let answer =
        ask(service, &format!("x-amz-target: {target}\r\ncontent-type: {kind}"), &body.to_string());
    serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{target}: {answer}"))
}

/// The same in another region.
pub fn json_in(region: &str, service: &str, target: &str, body: &Value) -> Value {
    let headers = format!("x-amz-target: {target}\r\ncontent-type: application/x-amz-json-1.1");
    let answer = post("/", (region, service), &headers, &body.to_string());
    serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{target}: {answer}"))
}

/// Tells the server itself something.
pub fn moto(path: &str, body: &Value) {
    post(path, ("us-east-1", "moto"), "content-type: application/json", &body.to_string());
}

fn ask(service: &str, headers: &str, body: &str) -> String {
    post("/", ("eu-west-1", service), headers, body)
}

fn post(path: &str, (region, service): (&str, &str), headers: &str, body: &str) -> String {
    let server = setting("AWS_ENDPOINT_URL");
    let host = server.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    // The server goes by this for which service is meant.
    let scope = format!("test/20260101/{region}/{service}/aws4_request");
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\
         {headers}\r\n\r\n{body}",
        body.len(),
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 20"), "{head}\n{body}");
    body.to_owned()
}

/// A queue that nobody else knows.
pub fn queue(name: &str) -> String {
    let answer = sqs("CreateQueue", &serde_json::json!({ "QueueName": name }));
    answer["QueueUrl"].as_str().unwrap().to_owned()
}

/// All messages of a queue, as Lambda hands them to a function.
pub fn messages(queue: &str) -> Value {
    let body = serde_json::json!({ "QueueUrl": queue, "MaxNumberOfMessages": 10 });
    let answer = sqs("ReceiveMessage", &body);
    let record = |message: &Value| {
        serde_json::json!({
            "messageId": message["MessageId"], "eventSource": "aws:sqs", "body": message["Body"],
        })
    };
    let records: Vec<Value> =
        answer["Messages"].as_array().into_iter().flatten().map(record).collect();
    serde_json::json!({ "Records": records })
}

fn sqs(action: &str, body: &Value) -> Value {
    let headers =
        format!("x-amz-target: AmazonSQS.{action}\r\ncontent-type: application/x-amz-json-1.0");
    serde_json::from_str(&ask("sqs", &headers, &body.to_string())).unwrap()
}

fn ask_to_delete(receipt: &Value) {
    let headers =
        "x-amz-target: AmazonSQS.DeleteMessage\r\ncontent-type: application/x-amz-json-1.0";
    ask("sqs", headers, &receipt.to_string());
}

/// A topic, and the queue that subscribed to it.
pub fn topic() -> (String, String) {
    (setting("SPOTIFY_ETL_TEST_TOPIC"), setting("SPOTIFY_ETL_TEST_QUEUE"))
}

/// The statements that Athena was given in a region, in no order.
pub fn statements(region: &str) -> Vec<String> {
    let target = |name: &str| format!("AmazonAthena.{name}");
    let ids = json_in(region, "athena", &target("ListQueryExecutions"), &serde_json::json!({}));
    let of = |id: &Value| {
        let body = serde_json::json!({ "QueryExecutionId": id });
        let found = json_in(region, "athena", &target("GetQueryExecution"), &body);
        found["QueryExecution"]["Query"].as_str().unwrap().to_owned()
    };
    ids["QueryExecutionIds"].as_array().unwrap().iter().map(of).collect()
}

/// The next thing that the subscriber is told.
pub fn told(queue: &str) -> Told {
    for _ in 0..100 {
        let answer = sqs("ReceiveMessage", &serde_json::json!({ "QueueUrl": queue }));
        let Some(message) = answer["Messages"].get(0) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let receipt =
            serde_json::json!({ "QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"] });
        ask_to_delete(&receipt);
        let body: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        return Told { subject: text("Subject"), text: text("Message") };
    }
    panic!("nobody was told")
}
