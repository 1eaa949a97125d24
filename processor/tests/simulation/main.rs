//! Thousands of runs of several pollers in simulated time, in which everything goes wrong that a seed can think of.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot go on has failed")]

mod books;
mod chance;
mod fleet;
mod judge;
mod letters;
#[expect(dead_code, reason = "the cases of the state table use all of it")]
mod memory_state;
mod network;
mod run;
mod sink;
mod source;
mod state;
mod streams;
mod watch;

#[test]
fn scratch() {
    let from: u64 = std::env::var("FROM").ok().map_or(0, |it| it.parse().unwrap());
    let count: u64 = std::env::var("COUNT").ok().map_or(20, |it| it.parse().unwrap());
    let mut failed = 0;
    if std::env::var_os("LOGS").is_some() {
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).without_time().init();
    }
    for seed in from..from + count {
        let started = std::time::Instant::now();
        let first = run::run(seed, &run::small(seed));
        if std::env::var_os("TWICE").is_some() {
            let second = run::run(seed, &run::small(seed));
            if first != second {
                println!("{seed} DIFFERS {}", first.is_ok());
                if let (Err(a), Err(b)) = (&first, &second) {
                    std::fs::write("/tmp/s5_a", a).unwrap();
                    std::fs::write("/tmp/s5_b", b).unwrap();
                }
            }
        }
        match first {
            Ok(it) => println!("{seed} ok {:?} {:?}", started.elapsed(), it.counts),
            Err(wrong) => {
                failed += 1;
                if count < 5 {
                    println!("{wrong}");
                } else {
                    println!("{}", wrong.lines().rev().take(2).last().unwrap());
                }
            }
        }
    }
    println!("{failed} of {count} failed");
}
