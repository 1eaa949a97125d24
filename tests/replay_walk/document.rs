//! The walk from an on-failure document in a queue.

use millstream_test_support::emulators::{MINISTACK, Ministack};

use crate::terminal::{Demo, Walk, number, page};

#[tokio::test]
async fn what_a_mapping_gave_up_on_ends_in_tables_that_are_equal() {
    let (page, services) = (page("REPLAY-DOCUMENT.md"), Ministack::start().await);
    assert!(
        page.contains(&format!("pip install ministack=={MINISTACK}\n")),
        "the page installs what is tested"
    );
    let demo = Demo::start(&page, &[], &services.endpoint());
    let story = demo.story.clone();
    let gave_up = story.lines().find(|line| line.contains("gave up on")).expect("it says so");
    let (records, differences) = (number(gave_up, "changes"), number(gave_up, "differences"));
    assert!(records > 1 && differences > 1, "{gave_up}");

    let walk = Walk::run(&page, demo);
    let [before, import, again, plan, apply] = &walk.outputs[..] else {
        panic!("other blocks than before: {:#?}", walk.outputs)
    };
    assert_eq!((before.as_str(), walk.complaints.as_str()), ("", "no letters\nno letters\n"));
    let stored = import.lines().find(|line| line.ends_with("from 1 document")).expect("one document");
    let letters = number(&format!(" {stored}"), "new letter");
    assert!(letters == records && import.contains("the event source mapping gave up"), "{import}");
    assert_eq!(again, "0 new letters from 0 documents\n");
    assert!(plan.lines().last().is_some_and(|line| line.starts_with(&format!("{letters} letter"))), "{plan}");
    let summary = apply.lines().next().expect("a summary");
    let done = number(&format!(" {summary}"), "replayed") + number(summary, "superseded");
    assert!(done == letters && !summary.contains("failed"), "{summary}");

    let (said, status) = walk.demo.stop();
    assert!(said.ends_with("every row of the five tables is what the source tables say."), "{said}");
    assert!(status.success());
}
