//! The walk with the letters in an SQS queue.

use millstream_test_support::emulators::{MINISTACK, Ministack};

use crate::terminal::{Demo, Walk, number, page};

#[tokio::test]
async fn letters_in_a_queue_are_mended_and_replayed() {
    let (page, services) = (page("REPLAY-SQS.md"), Ministack::start().await);
    assert!(
        page.contains(&format!("pip install ministack=={MINISTACK}\n")),
        "the page installs what is tested"
    );
    let walk = Walk::run(&page, Demo::start(&page, &[], &services.endpoint()));
    let [list, show, after, apply, log] = &walk.outputs[..] else {
        panic!("other blocks than before: {:#?}", walk.outputs)
    };
    assert!(list.contains("20 letters in 1 group") && list.contains("orders-for-accounting"), "{list}");
    for part in ["Fault: rejected", "has no attribute `total`", "Now: still rejected"] {
        assert!(show.contains(part), "{part}: {show}");
    }
    // The demo ran the very config that the page makes.
    assert!(show.ends_with("20 letters: 20 still rejected\n"), "{show}");
    let plan = after.lines().last().expect("a plan");
    let (would, superseded) = (number(plan, "would write"), number(plan, "superseded"));
    assert!(would + superseded == 20 && would > 0 && superseded > 0, "{plan}");
    assert_eq!(*apply, format!("{would} replayed, {superseded} superseded of 20 letters\n"));
    assert_eq!(walk.complaints, "no letters\n", "{log}");
    assert_eq!(log.lines().filter(|line| line.ends_with("replayed: 1 written")).count(), would, "{log}");
    let (said, status) = walk.demo.stop();
    assert!(status.success(), "{said}");
}
