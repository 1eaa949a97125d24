//! What lies between one worker and everything else: delays, lost replies, throttles, partitions, stalls, and its death.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::chance::Chance;

/// A request that takes this long is given up by the client.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Whom a worker speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    State,
    Streams,
    Sink,
}

pub(crate) const CHANNELS: [Channel; 3] = [Channel::State, Channel::Streams, Channel::Sink];

/// What is wrong on one channel now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fault {
    /// Nothing goes through.
    pub(crate) cut: bool,
    /// So many of a hundred requests are throttled.
    pub(crate) throttled: u64,
    /// So many of a hundred requests are lost, on the way out or on the way back.
    pub(crate) lossy: u64,
    /// Requests take up to so many milliseconds more.
    pub(crate) slow: u64,
}

/// How a worker is now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    /// Its process is there, and does nothing: nothing of it goes out or comes in.
    pub(crate) frozen: bool,
    /// Its process is gone.
    pub(crate) dead: bool,
    /// When it was told to stop.
    pub(crate) told_at: Option<Instant>,
    faults: [Fault; 3],
}

impl Weather {
    pub(crate) fn on(&self, channel: Channel) -> Fault {
        self.faults[channel as usize]
    }

    pub(crate) fn on_mut(&mut self, channel: Channel) -> &mut Fault {
        &mut self.faults[channel as usize]
    }

    /// Whether it can do what the others expect of it.
    pub(crate) fn is_well(&self) -> bool {
        !self.frozen && !self.dead && !self.on(Channel::State).cut
    }
}

/// Why a request gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It was refused for now, and not applied.
    Throttled,
    /// The connection broke, and it was not applied.
    Reset,
    /// It was applied, and its reply got lost.
    Lost,
    /// Nobody knows.
    TimedOut,
}

/// What the seed has decided about one request.
#[derive(Debug)]
struct Fate {
    out: Duration,
    back: Duration,
    throttled: bool,
    reset: bool,
    lost: bool,
    /// It is on its way already when its worker stalls or dies.
    is_out: bool,
    /// A cut swallows it, and says nothing; else the connection is refused at once.
    vanishes: bool,
}

/// The wires of one worker.
pub(crate) struct Wires {
    /// How long a request about the state may take.
    patience: Duration,
    weather: Mutex<Weather>,
    /// Wakes its waiters in the order in which they came, as a watch does not.
    changed: Notify,
    chance: Mutex<Chance>,
    /// When a request was last in trouble, by channel.
    troubled_at: Mutex<[Option<Instant>; 3]>,
}

impl Wires {
    pub(crate) fn new(chance: Chance, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            patience,
            weather: Mutex::default(),
            changed: Notify::new(),
            chance: Mutex::new(chance),
            troubled_at: Mutex::default(),
        })
    }

    pub(crate) fn weather(&self) -> Weather {
        *self.weather.lock().unwrap()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.weather.lock().unwrap());
        self.changed.notify_waiters();
    }

    pub(crate) fn troubled_at(&self, channel: Channel) -> Option<Instant> {
        self.troubled_at.lock().unwrap()[channel as usize]
    }

    /// Notes that a channel is in trouble now, or was until now.
    pub(crate) fn trouble(&self, channel: Channel) {
        self.troubled_at.lock().unwrap()[channel as usize] = Some(Instant::now());
    }

    pub(crate) fn percent(&self, percent: u64) -> bool {
        self.chance.lock().unwrap().percent(percent)
    }

    pub(crate) fn within(&self, range: std::ops::Range<u64>) -> u64 {
        self.chance.lock().unwrap().within(range)
    }

    /// Sends one request. It goes on by itself when its caller goes away, as one that is on its way does.
    pub(crate) async fn pass<T, F>(
        self: &Arc<Self>,
        channel: Channel,
        apply: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, Trouble>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let begun = Instant::now();
        let (reply, answer) = oneshot::channel();
        let (wires, fate) = (self.clone(), self.fate(channel));
        tokio::spawn(async move {
            if let Some(result) = wires.carry(channel, &fate, apply).await {
                // Its caller may have given up, and dropped the receiver.
                let _ = reply.send(result);
            }
        });
        let result = match tokio::time::timeout(self.patience(channel), answer).await {
            Ok(Ok(result)) => result,
            // It was swallowed, and nobody says so.
            Ok(Err(_)) if !self.weather().dead => {
                tokio::time::sleep_until(begun + self.patience(channel)).await;
                Err(Trouble::TimedOut)
            }
            // The dead never hear.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => Err(Trouble::TimedOut),
        };
        if result.is_err() {
            self.trouble(channel);
        }
        result
    }

    fn fate(&self, channel: Channel) -> Fate {
        let (weather, fault) = (self.weather(), self.weather().on(channel));
        let mut chance = self.chance.lock().unwrap();
        Fate {
            out: chance.millis(1..8) + chance.millis(0..fault.slow + 1),
            back: chance.millis(1..8),
            throttled: chance.percent(fault.throttled),
            reset: chance.percent(fault.lossy / 2),
            lost: chance.percent(fault.lossy),
            is_out: chance.percent(50) && !weather.frozen,
            vanishes: chance.percent(50),
        }
    }

    /// Carries a request there and its reply back; none to the dead.
    async fn carry<T, F: Future<Output = T>>(
        &self,
        channel: Channel,
        fate: &Fate,
        apply: impl FnOnce() -> F,
    ) -> Option<Result<T, Trouble>> {
        tokio::time::sleep(fate.out).await;
        if !fate.is_out {
            self.thawed().await?;
        }
        if self.weather().on(channel).cut {
            if !fate.vanishes {
                return self.back(fate, Err(Trouble::Reset)).await;
            }
            // It is sent again until the cut is over, unless the caller's patience is first.
            let healed = self.until(|now| !now.on(channel).cut);
            tokio::time::timeout(self.patience(channel), healed).await.ok()?;
        }
        if fate.throttled {
            return self.back(fate, Err(Trouble::Throttled)).await;
        }
        if fate.reset {
            return self.back(fate, Err(Trouble::Reset)).await;
        }
        let result = apply().await;
        let cut = self.weather().on(channel).cut;
        let result = if fate.lost || cut { Err(Trouble::Lost) } else { Ok(result) };
        self.back(fate, result).await
    }

    async fn back<T>(&self, fate: &Fate, result: Result<T, Trouble>) -> Option<Result<T, Trouble>> {
        tokio::time::sleep(fate.back).await;
        self.thawed().await?;
        Some(result)
    }

    /// Waits until the worker is there again; none if it is dead.
    async fn thawed(&self) -> Option<()> {
        let now = self.until(|now| now.dead || !now.frozen).await;
        (!now.dead).then_some(())
    }

    /// How long a request may take.
    fn patience(&self, channel: Channel) -> Duration {
        match channel {
            Channel::State => self.patience,
            Channel::Streams | Channel::Sink => ATTEMPT,
        }
    }

    async fn until(&self, is_so: impl Fn(&Weather) -> bool) -> Weather {
        loop {
            let changed = self.changed.notified();
            let now = self.weather();
            if is_so(&now) {
                return now;
            }
            changed.await;
        }
    }
}
