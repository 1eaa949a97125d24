//! A list that lags behind: what it lacks is not taken for done.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use millstream_processor::letters::{
    AuditEntry, Closing, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore, Stored,
};
use millstream_processor::outcome::Fault;
use millstream_replay::apply::{Applied, Brake, Pace, Selection, apply};
use millstream_replay::desk::Desk;
use millstream_replay::discard::discard;
use millstream_replay::plan::{PlanFile, PlanFileError, PlanWriter};
use serde_json::json;

use crate::world::{ORDERS, World, mended, plans};

/// A store whose lists are empty.
struct Lagging(Arc<dyn LetterStore>);

impl LetterStore for Lagging {
    fn store<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<Stored, Fault>> {
        self.0.store(letter)
    }

    fn list<'a>(&'a self, _: &'a LetterFilter) -> BoxStream<'a, Result<LetterHead, Fault>> {
        stream::empty().boxed()
    }

    fn load<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Letter>, Fault>> {
        self.0.load(id)
    }

    fn state<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<LetterState>, Fault>> {
        self.0.state(id)
    }

    fn close<'a>(
        &'a self,
        id: &'a LetterId,
        seen: u32,
        closing: &'a Closing,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        self.0.close(id, seen, closing)
    }

    fn edit<'a>(
        &'a self,
        id: &'a LetterId,
        seen: u32,
        record: &'a Bytes,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        self.0.edit(id, seen, record)
    }

    fn original<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Bytes>, Fault>> {
        self.0.original(id)
    }

    fn audit<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<(), Fault>> {
        self.0.audit(entry)
    }

    fn trail(&self) -> BoxStream<'_, Result<AuditEntry, Fault>> {
        self.0.trail()
    }
}

async fn run(desk: &Desk, plan: &PlanFile) -> Result<Applied, PlanFileError> {
    apply(desk, Selection::Plan(plan.clone()), Pace::default(), &Brake::default(), &|_| ()).await
}

#[tokio::test]
async fn a_plan_takes_up_what_the_list_lacks_and_refuses_what_nobody_finds() {
    let world = World::table().await;
    for id in ["o1", "o2", "o3"] {
        world.order(id, None).await;
    }
    world.deliver(ORDERS).await;
    let mut desk = world.desk(&mended());
    let mut writer = PlanWriter::begin(Vec::new(), &desk.pipeline.config).unwrap();
    let planned = plans(&desk).await;
    planned.iter().for_each(|plan| writer.add(plan).unwrap());
    let plan = PlanFile::parse(&writer.end().unwrap()).unwrap();
    discard(&desk, &planned[0].id, "a test order").await.unwrap();

    desk.pipeline.letters = Arc::new(Lagging(desk.pipeline.letters.clone()));
    assert_eq!(plan.waiting(&desk).await.unwrap(), 2);
    let applied = run(&desk, &plan).await.unwrap();
    assert_eq!((applied.chosen, applied.replayed), (2, 2));
    assert_eq!(world.rows().await.len(), 2);
    // What is closed is done, listed or not.
    assert_eq!(run(&desk, &plan).await.unwrap().chosen, 0);

    let json = json!({ "form": 1, "config": desk.pipeline.config, "letters": [
        { "id": "000000000000000000000000", "tries": 1, "edited": 0 } ] });
    let strange = PlanFile::parse(json.to_string().as_bytes()).unwrap();
    let error = run(&desk, &strange).await.unwrap_err().to_string();
    assert!(error.contains("000000000000000000000000 cannot be found"), "{error}");
}
