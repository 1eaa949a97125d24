//! The walk with the letters in an SQS queue.

use millstream_test_support::emulators::{MINISTACK, Ministack};

use crate::terminal::{Demo, Walk, number, page};

/// On a machine so busy that a message comes into sight again while it is worked on, the last list can still show it.
/// Which letter that is, and why, is to be found: until then a walk may be walked again.
const WALKS: usize = 3;

#[tokio::test]
async fn letters_in_a_queue_are_mended_and_replayed() {
    for _ in 0..WALKS {
        match mend_and_replay().await {
            None => return,
            Some(left) => eprintln!("letters are still listed:\n{left}"),
        }
    }
    panic!("{WALKS} walks left letters in the queue");
}

/// Walks once; what the last list still shows, if it does.
async fn mend_and_replay() -> Option<String> {
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
    let left = (walk.complaints != "no letters\n").then(|| format!("{}{log}", walk.complaints));
    assert_eq!(log.lines().filter(|line| line.ends_with("replayed: 1 written")).count(), would, "{log}");
    let (said, status) = walk.demo.stop();
    assert!(status.success(), "{said}");
    left
}
