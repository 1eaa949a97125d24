//! The run itself: services write, streams are read, and what they bring is delivered badly on purpose.

use std::time::Duration;

use millstream_processor::clock::Deadline;
use millstream_processor::letters::LetterId;
use millstream_processor::outcome::FaultKind;
use millstream_processor::pipeline::Pipeline;
use millstream_processor::projections::SourceName;
use millstream_processor::report::Counts;
use millstream_processor::sink::fault::fault;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::deal::{Dealer, Parcel, Round};
use super::mapping;
use super::progress::Progress;
use super::remote::Received;
use super::tail::Tail;
use super::topic::Message;
use super::workload::{Act, Step, Workload, Write};
use super::world::{Topic, World};
use super::{DemoError, Settings};

/// The most changes that are written before the streams are read again.
const WRITTEN_AT_ONCE: usize = 200;
/// How often deliveries that are unfinished come again, and the wait before that.
const TRIES: usize = 40;
/// The wait before deliveries that are unfinished come again.
const PAUSE: Duration = Duration::from_secs(1);
/// So many changes before the end the function of the orders fails, where a mapping is to give up.
const GIVEN_UP: usize = 100;
/// How long the queue may bring nothing of what was published.
const PATIENCE: Duration = Duration::from_secs(120);
/// Sets the chance of the deliveries apart from that of the writes.
const DELIVERIES: u64 = 0x6465_6c69_7665_7279;

/// What was done so far.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    /// Changes of source tables.
    pub(crate) changes: u64,
    /// Records and messages that were handed to a pipeline, repeated ones included.
    pub(crate) deliveries: u64,
    /// Events that reached the subscriber, each once.
    pub(crate) events: u64,
    /// What the pipelines report of their writes.
    pub(crate) counts: Counts,
}

/// Everything that takes part in a run.
pub(crate) struct Run<'w> {
    world: &'w mut World,
    /// Two processors of the same changes. The second one works only part of the time.
    pipelines: [Pipeline; 2],
    tails: Vec<Tail>,
    queue: SourceName,
    dealer: Dealer,
    chance: StdRng,
    tally: Tally,
    /// The batch that a mapping gave up on.
    given_up: Vec<Parcel>,
}

impl<'w> Run<'w> {
    /// A run over tables that exist.
    pub(crate) async fn new(world: &'w mut World, settings: &Settings) -> Result<Self, DemoError> {
        let mut chance = StdRng::seed_from_u64(settings.seed ^ DELIVERIES);
        Ok(Self {
            pipelines: [world.pipeline(), world.pipeline()],
            tails: Tail::open(world).await?,
            queue: world.queue_source()?,
            dealer: Dealer::new(StdRng::from_rng(&mut chance)),
            world,
            chance,
            tally: Tally::default(),
            given_up: Vec::new(),
        })
    }

    /// What the run stands on.
    pub(crate) fn world(&self) -> &World {
        self.world
    }

    /// What was done so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// How many records the streams have brought, each once.
    pub(crate) fn records(&self) -> u64 {
        self.tails.iter().map(Tail::records).sum()
    }

    /// How many records a mapping gave up on.
    pub(crate) fn given_up(&self) -> usize {
        self.given_up.len()
    }

    /// Writes the whole workload and delivers it.
    pub(crate) async fn play(
        &mut self,
        workload: &mut Workload,
        progress: &Progress,
    ) -> Result<(), DemoError> {
        for ((table, _), row) in &workload.memory().others {
            self.write(&super::workload::put(table, row.clone())).await?;
        }
        let changes = workload.left();
        // Small enough that every part of the run has some of it.
        let most = (changes / 6).clamp(1, WRITTEN_AT_ONCE);
        loop {
            let some = self.chance.random_range(1..=most);
            for step in workload.by_ref().take(some) {
                self.step(&step).await?;
                progress.show(&self.tally);
            }
            // In the middle of the run two processors work on everything.
            let done = changes - workload.left();
            let both = (changes / 3..changes * 2 / 3).contains(&done);
            let last = workload.left() == 0;
            self.deliver_changes(both, workload.left(), progress).await?;
            workload.delivered();
            self.deliver_messages(both, last, progress).await?;
            if last {
                return Ok(());
            }
        }
    }

    /// Delivers what is new, as it comes, and tells what became of it.
    pub(crate) async fn follow(&mut self) -> Result<Vec<Followed>, DemoError> {
        let mut rounds = Vec::new();
        for tail in &mut self.tails {
            let parcels = tail.page().await?;
            rounds.extend(Round::of(parcels));
        }
        let mut followed = Vec::new();
        for round in rounds {
            let done = until_done(&self.pipelines[0], &round).await?;
            followed.push(Followed { source: round.source().clone(), done });
        }
        if let Topic::Local(topic) = &self.world.topic {
            if let Some(round) = Round::of(self.parcels(topic.take())) {
                let done = until_done(&self.pipelines[0], &round).await?;
                followed.push(Followed { source: round.source().clone(), done });
            }
        } else if let Some(done) = self.receive().await? {
            followed.push(Followed { source: self.queue.clone(), done });
        }
        Ok(followed)
    }

    async fn step(&mut self, step: &Step) -> Result<(), DemoError> {
        self.write(&step.change).await?;
        let table = self.world.table(step.change.table);
        self.tails.iter_mut().for_each(|tail| tail.expect(&table));
        self.tally.changes += 1;
        for write in &step.beside {
            self.write(write).await?;
        }
        Ok(())
    }

    /// A service writes to its own table, with no thought of who reads its stream.
    async fn write(&self, write: &Write) -> Result<(), DemoError> {
        let (client, table) = (&self.world.services, self.world.table(write.table));
        let doing = |operation: &str| format!("{operation} on table {table}");
        match &write.act {
            Act::Put(row) => {
                let item = row.clone().into_iter().collect();
                let put = client.put_item().table_name(&table).set_item(Some(item)).send().await;
                put.map(drop).map_err(|error| fault(doing("PutItem"), &error))?;
            }
            Act::Delete(key) => {
                let key = key.clone().into_iter().collect();
                let deleted = client.delete_item().table_name(&table).set_key(Some(key)).send().await;
                deleted.map(drop).map_err(|error| fault(doing("DeleteItem"), &error))?;
            }
            Act::Set { key, attribute: (name, value) } => {
                let key = key.clone().into_iter().collect();
                let set = client.update_item().table_name(&table).set_key(Some(key));
                let set =
                    set.update_expression("SET #name = :value").expression_attribute_names("#name", *name);
                let set = set.expression_attribute_values(":value", value.clone()).send().await;
                set.map(drop).map_err(|error| fault(doing("UpdateItem"), &error))?;
            }
        }
        Ok(())
    }

    async fn deliver_changes(
        &mut self,
        both: bool,
        left: usize,
        progress: &Progress,
    ) -> Result<(), DemoError> {
        let mut sources = Vec::new();
        for tail in &mut self.tails {
            sources.push(tail.catch_up().await?);
        }
        self.give_up(&mut sources, left).await?;
        for round in self.dealer.deal_changes(sources) {
            self.deliver(round, both).await?;
            progress.show(&self.tally);
        }
        Ok(())
    }

    /// Near the end the function of the orders fails, if it was told to: a mapping gives up on all that comes from then on.
    async fn give_up(&mut self, sources: &mut [Vec<Parcel>], left: usize) -> Result<(), DemoError> {
        let Some(queue) = &self.world.queues.failures else { return Ok(()) };
        if left < GIVEN_UP {
            self.given_up.extend(mapping::orders(sources));
        }
        if left == 0 {
            let streams = self.world.connection.pipeline.streams();
            mapping::give_up(&streams, &self.world.queues.sqs, queue, &self.given_up).await?;
        }
        Ok(())
    }

    async fn deliver_messages(
        &mut self,
        both: bool,
        last: bool,
        progress: &Progress,
    ) -> Result<(), DemoError> {
        let Topic::Local(topic) = &self.world.topic else { return self.receive_all(last, progress).await };
        let topic = topic.clone();
        loop {
            let messages = topic.take();
            self.tally.events += messages.len() as u64;
            let parcels = self.parcels(messages);
            for round in self.dealer.deal_messages(parcels, last) {
                self.deliver(round, both).await?;
                progress.show(&self.tally);
            }
            // A change that came again in between has been told again.
            if !last || topic.is_empty() {
                return Ok(());
            }
        }
    }

    fn parcels(&self, messages: Vec<Message>) -> Vec<Parcel> {
        messages.into_iter().map(|message| Parcel::of_queue(&self.queue, message.id, message.body)).collect()
    }

    /// Delivers what a real queue gives: it deals for itself. At the end everything that was published has to come.
    async fn receive_all(&mut self, last: bool, progress: &Progress) -> Result<(), DemoError> {
        let mut since = Instant::now();
        loop {
            match self.receive().await? {
                Some(done) => {
                    since = Instant::now();
                    self.tally.events += done.deliveries;
                    self.tally.add(done);
                    progress.show(&self.tally);
                }
                None if !last || self.world.topic.is_drained() => return Ok(()),
                None if since.elapsed() > PATIENCE => {
                    return Err(DemoError::new(
                        "the queue never brought some of the events that were published",
                    ));
                }
                None => {}
            }
        }
    }

    /// Delivers one batch of a real queue, if it has one. A message is deleted only when it is done.
    async fn receive(&mut self) -> Result<Option<Done>, DemoError> {
        let Topic::Remote(topic) = &mut self.world.topic else { return Ok(None) };
        let messages = topic.receive().await?;
        let parcel =
            |message: &Received| Parcel::of_queue(&self.queue, message.id.clone(), message.body.clone());
        let Some(round) = Round::of(messages.iter().map(parcel).collect()) else { return Ok(None) };
        let done = until_done(&self.pipelines[0], &round).await?;
        for message in messages {
            topic.done(message).await?;
        }
        Ok(Some(done))
    }

    /// Hands one round to one processor, or to both at once; what is unfinished comes again.
    async fn deliver(&mut self, round: Round, both: bool) -> Result<(), DemoError> {
        let first = until_done(&self.pipelines[0], &round);
        if both {
            let (first, second) = tokio::join!(first, until_done(&self.pipelines[1], &round));
            self.tally.add(first?);
            self.tally.add(second?);
        } else {
            let first = first.await?;
            self.tally.add(first);
        }
        Ok(())
    }
}

impl Tally {
    fn add(&mut self, done: Done) {
        self.deliveries += done.deliveries;
        self.counts += done.counts;
    }
}

/// What became of one round.
#[derive(Default)]
pub(crate) struct Done {
    /// How many records or messages were delivered for it.
    pub(crate) deliveries: u64,
    /// What the pipeline reports of its writes.
    pub(crate) counts: Counts,
    /// The letters that were stored.
    pub(crate) letters: Vec<LetterId>,
}

/// What became of something that the user wrote.
pub(crate) struct Followed {
    /// The source it came from.
    pub(crate) source: SourceName,
    /// The rest.
    pub(crate) done: Done,
}

/// Delivers a round again and again as long as some of it is unfinished, as a stream and a queue do.
async fn until_done(pipeline: &Pipeline, round: &Round) -> Result<Done, DemoError> {
    let mut done = Done::default();
    let mut round = round.clone();
    for _ in 0..TRIES {
        let report = pipeline.run(&round.batch(), Deadline::NONE).await;
        pipeline.letters.release().await;
        done.deliveries += round.len() as u64;
        done.counts += report.counts;
        done.letters.extend_from_slice(&report.letters);
        match report.first_fault() {
            None => return Ok(done),
            Some(fault) if fault.kind == FaultKind::Misconfigured => return Err(fault.clone().into()),
            Some(_) => {}
        }
        let unfinished: Vec<bool> = report.unfinished.iter().map(Option::is_some).collect();
        round = round.unfinished(&unfinished);
        tokio::time::sleep(PAUSE).await;
    }
    Err(DemoError::new(format!("a batch is still unfinished after {TRIES} deliveries")))
}
