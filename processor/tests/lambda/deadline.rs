//! A service that hangs: the answer comes before the deadline, and names what is unfinished.

use std::time::Duration;

use millstream_test_support::faults::{Fault, Rule};

use crate::deployment::{Deployment, failures, sequence};

/// Past its deadline the Runtime API double kills the process and gives an error in place of an answer.
const DEADLINE: Duration = Duration::from_secs(4);

#[tokio::test]
async fn what_hangs_is_named_before_the_deadline() {
    let deployment = Deployment::orders().await;
    for n in 0..4 {
        deployment.order(&format!("o{n}"), n).await;
    }
    let hangs = Fault::Delay(Duration::from_secs(600));
    deployment.db.faults().add(Rule::any(hangs).table("Accounting").containing("\"o2\""));
    let function = deployment.start().await;
    function.ready().await.expect("it starts");
    let (event, records) = deployment.event("Orders").await;
    let answer = function.invoke(&event, DEADLINE).await.expect("an answer before the deadline");
    assert_eq!(failures(&answer), [sequence(&records[2])]);
    assert_eq!(deployment.rows("Accounting").await.len(), 3, "the others are written");
    assert!(deployment.letters().await.is_empty());
}
