//! What a plan says, and when it is refused.

use millstream_processor::letters::LetterState;
use millstream_replay::apply::{Brake, Pace, Progress, Selection, apply};
use millstream_replay::edit;
use millstream_replay::plan::{PlanFile, PlanFileError, PlanWriter, Totals, Verdict};
use millstream_test_support::faults::{Fault, Rule};
use serde_json::json;

use crate::world::{ORDERS, World, all, apply_all, mended, plans};

#[tokio::test]
async fn a_plan_shows_what_a_mended_config_would_write_and_apply_writes_it() {
    for world in World::each().await {
        world.order("o1", None).await;
        world.deliver(ORDERS).await;
        let before = plans(&world.desk(ORDERS)).await;
        assert_eq!(before[0].verdict, Verdict::StillRejected);
        assert!(before[0].cause.as_ref().unwrap().contains("total"), "{before:?}");

        let desk = world.desk(&mended());
        let planned = plans(&desk).await;
        assert_eq!(planned[0].verdict, Verdict::WouldWrite);
        assert_eq!(planned[0].other_config.as_ref(), Some(&world.config(ORDERS).hash));
        let shown = planned[0].to_string();
        assert!(shown.contains("put Accounting (orderId = \"o1\")"), "{shown}");
        assert!(shown.contains("orderId: - -> \"o1\""), "{shown}");
        assert_eq!(world.rows().await, Vec::<serde_json::Value>::new());

        let applied = apply_all(&desk).await;
        assert!(applied.is_clean() && applied.replayed == 1, "{applied:?}");
        assert_eq!(world.rows().await, [json!({ "orderId": "o1" })]);
        assert!(world.letters(&[]).await.is_empty());
        let closed = world.letters(&[LetterState::Replayed]).await;
        let closing = closed[0].head.closing.clone().unwrap();
        assert_eq!((closing.by.as_str(), closing.reason.as_str()), ("kim", "replayed: 1 written"));
        let trail = world.trail().await;
        assert_eq!((trail.len(), trail[0].action.as_str()), (1, "apply"));
        assert_eq!(trail[0].letter.as_ref(), Some(&closed[0].head.id));
        // Nothing is left.
        assert_eq!(apply_all(&desk).await.chosen, 0);
    }
}

#[tokio::test]
async fn a_newer_change_came_first_and_nothing_is_overwritten() {
    for world in World::each().await {
        world.order("o1", None).await;
        world.order("o1", Some(2)).await;
        world.deliver(ORDERS).await;
        let desk = world.desk(&mended());
        assert_eq!(plans(&desk).await[0].verdict, Verdict::Superseded);
        let applied = apply_all(&desk).await;
        assert_eq!((applied.superseded, applied.replayed, applied.failed), (1, 0, 0));
        assert_eq!(world.rows().await, [json!({ "orderId": "o1", "total": 2 })]);
        assert_eq!(world.letters(&[LetterState::Superseded]).await.len(), 1);
    }
}

#[tokio::test]
async fn a_row_that_was_removed_since_stays_removed() {
    let world = World::table().await;
    world.order("o1", None).await;
    world.db.delete("Orders", json!({ "orderId": "o1" })).await;
    world.deliver(ORDERS).await;
    let desk = world.desk(&mended());
    let planned = plans(&desk).await;
    assert_eq!(planned[0].verdict, Verdict::Superseded);
    assert_eq!(planned[0].effects[0].note, Some("a later change removed the row"));
    assert_eq!(apply_all(&desk).await.superseded, 1);
    assert!(world.rows().await.is_empty());
}

#[tokio::test]
async fn letters_of_what_is_not_in_the_config_say_so_and_stay() {
    for world in World::each().await {
        world.order("o1", None).await;
        world.deliver(ORDERS).await;
        let renamed = ORDERS.replace("accounting", "books");
        let elsewhere = format!(
            "{}\n[source.others]\ntable = \"Others\"\n",
            ORDERS.replace("from = \"orders\"", "from = \"others\"")
        );
        for (config, expected) in [(renamed, Verdict::UnknownProjection), (elsewhere, Verdict::UnknownSource)]
        {
            let desk = world.desk(&config);
            assert_eq!(plans(&desk).await[0].verdict, expected);
            let applied = apply_all(&desk).await;
            assert_eq!((applied.failed, applied.is_clean()), (1, false));
        }
        let letters = world.letters(&[]).await;
        assert_eq!((letters.len(), letters[0].head.attempts.len()), (1, 1));
    }
}

#[tokio::test]
async fn a_table_that_cannot_be_read_is_told_and_takes_no_plan_down() {
    let world = World::table().await;
    world.order("o1", None).await;
    world.deliver(ORDERS).await;
    let planned = plans(&world.desk(&mended().replace("\"Accounting\"", "\"Nowhere\""))).await;
    assert_eq!(planned[0].verdict, Verdict::Unfinished);
    assert!(planned[0].cause.as_ref().unwrap().contains("Nowhere"), "{planned:?}");
}

#[tokio::test]
async fn a_plan_in_a_file_is_refused_when_config_or_letters_changed() {
    for world in World::each().await {
        world.order("o1", None).await;
        world.order("o2", None).await;
        world.deliver(ORDERS).await;
        let desk = world.desk(&mended());
        let file = write(&desk).await;
        assert_eq!(file.letters.len(), 2);

        let other = world.desk(&mended().replace("set =", "where = \"true\"\nset ="));
        let error = run(&other, file.clone()).await.unwrap_err();
        assert!(matches!(error, PlanFileError::Config { .. }), "{error}");

        // One of its letters fails once more.
        let again = world.desk(ORDERS);
        let one = Pace { limit: Some(1), ..Pace::default() };
        let first = apply(&again, all(), one, &Brake::default(), &|_| ()).await;
        assert_eq!(first.unwrap().failed, 1);
        let error = run(&desk, file.clone()).await.unwrap_err().to_string();
        assert!(error.contains("failed again (1 tries, 2 now)"), "{error}");

        // Another one is edited.
        let file = write(&desk).await;
        let letter = &world.letters(&[]).await[1];
        let text = edit::draft(letter).replace("\"SizeBytes\"", "\"Note\": 1, \"SizeBytes\"");
        edit::replace(&desk, letter, &text).await.unwrap();
        let error = run(&desk, file).await.unwrap_err().to_string();
        assert!(error.contains("was edited"), "{error}");

        // Unchanged, it is applied; what is closed since is done.
        let file = write(&desk).await;
        let pace = Pace { limit: Some(1), ..Pace::default() };
        let begun = apply(&desk, Selection::Plan(file.clone()), pace, &Brake::default(), &|_| ()).await;
        assert_eq!(begun.unwrap().replayed, 1);
        assert_eq!(run(&desk, file).await.unwrap().replayed, 1);
        assert_eq!(world.rows().await.len(), 2);
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_no_plan_without_letters() {
    let world = World::table().await;
    world.order("o1", None).await;
    world.deliver(ORDERS).await;
    let desk = world.desk(&mended());
    let file = write(&desk).await;
    world.db.faults().add(Rule::on("Query", Fault::AccessDenied));
    assert!(matches!(run(&desk, file).await, Err(PlanFileError::Store(_))));
    let applied = apply_all(&desk).await;
    assert!(applied.chosen == 0 && !applied.is_clean(), "{applied:?}");
}

async fn write(desk: &millstream_replay::desk::Desk) -> PlanFile {
    let mut totals = Totals::default();
    let mut writer = PlanWriter::begin(Vec::new(), &desk.pipeline.config).unwrap();
    for planned in plans(desk).await {
        totals.add(&planned);
        writer.add(&planned).unwrap();
    }
    let json = writer.end().unwrap();
    let whole: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(whole["totals"], serde_json::to_value(&totals).unwrap());
    PlanFile::parse(&json).unwrap()
}

async fn run(
    desk: &millstream_replay::desk::Desk,
    file: PlanFile,
) -> Result<millstream_replay::apply::Applied, PlanFileError> {
    apply(desk, Selection::Plan(file), Pace::default(), &Brake::default(), &|_: Progress<'_>| ()).await
}
