//! The strategy reads what the sidecar says: in order, over restarts, from the board.

use crate::common::{Place, place};
use crate::sidecar::{Sidecar, WARMING};
use crate::{ES, Running, example, feed, plain, run, text};
use pillion_shm::State;
use rustix::process::{Pid, Signal as Kill, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

/// Records of the ES day; and event ends outside the snapshot, that of the feed's clear among them.
const RECORDS: u64 = 68_792;
const EVENTS: u64 = 47_023;

/// The strategy on the lane of `place`, for which neither scores nor heartbeats grow old.
pub fn strategy(place: &Place, more: &[&str]) -> Option<Command> {
    within(place, "600000", "600000", more)
}

/// The same with a `--max-age` and a `--heartbeat`, ms.
pub fn within(place: &Place, max_age: &str, heartbeat: &str, more: &[&str]) -> Option<Command> {
    let mut strategy = example("strategy")?;
    strategy.args(["--lane", "test", "--max-age", max_age, "--heartbeat", heartbeat, "--dir"]).arg(place.dir.path());
    strategy.args(more);
    Some(strategy)
}

/// feed → this test as the sidecar → strategy: every decision and every count of the summary follows from the numbers.
#[test]
fn the_strategy_follows_the_es_day() {
    let place = place();
    let Some((file, _)) = plain(place.dir.path(), ES) else { return };
    let Some(mut feed) = feed(&place, &file, &["--rate", "max", "--lossless", "--clear"]) else { return };
    let mut strategy = Strategy::start(strategy(&place, &["--oldest", "--show", "100000", "--for", "120"]).unwrap());
    let mut sidecar = Sidecar::start(&place, EVENTS);
    let mut feed = Running::start(&mut feed);
    while !feed.ended() {
        sidecar.turn(&place);
        std::thread::sleep(Duration::from_micros(200));
    }
    let fed = feed.finish();
    assert!(
        text(&fed.stdout).contains("consumed   68,793 by the sidecar"),
        "{}{}",
        text(&fed.stdout),
        text(&fed.stderr)
    );
    assert!(text(&fed.stdout).contains("not paced; 1 clear records before them\n"), "{}", text(&fed.stdout));
    assert_eq!((sidecar.consumed, sidecar.signals.published()), (RECORDS + 1, EVENTS));
    let leans: Vec<_> = (WARMING..EVENTS).map(|n| Sidecar::lean(n, EVENTS)).collect();
    let turns =
        |to: i32| leans.windows(2).filter(|w| w[0] != to && w[1] == to).count() as u64 + u64::from(leans[0] == to);
    let all_turns = 1 + turns(-1) + turns(0) + turns(1);
    (0..all_turns).for_each(|_| strategy.hear("ESH4 mock: "));
    // Not before it has read all: once STOPPED it rightly stands aside.
    sidecar.page.set_state(State::Stopped);
    let said = strategy.finish();
    for words in [
        "model      mock revision 4, test none: probability that the test goes down, stays or goes up\n".to_owned(),
        "instrument ESH4, id 17077, tick size 0.25\n".to_owned(),
        "ESH4 mock: stand aside, up 0.000 down 1.000, ".to_owned(),
        "ignored: features are still warming up".to_owned(),
        "ESH4 mock: SELL, up 0.000 down 1.000, ".to_owned(),
        format!("summary    {} signals read, 0 lost, 0 of no concern, 0 restarts of the sidecar\n", thousands(EVENTS)),
        format!("           {} fresh\n", thousands(EVENTS - WARMING)),
        "           500 ignored: features are still warming up\n".to_owned(),
        format!("would      buy {} times, sell {}, go flat {}, stand aside 2\n", turns(1), turns(-1), turns(0)),
        "age        when used: half below ".to_owned(),
    ] {
        assert!(said.contains(&words), "no {words:?} in\n{said}");
    }
    // The last one as the sidecar is stopped.
    assert_eq!(said.matches("ESH4 mock: ").count() as u64, all_turns + 1);
    assert_eq!(said.matches("stand down: the sidecar is not in RUN\n").count(), 1, "{said}");
}

/// The strategy beside the test, heard line by line. `--for` bounds its life.
pub struct Strategy {
    process: Running,
    output: BufReader<ChildStdout>,
    pub said: String,
}

impl Strategy {
    pub fn start(mut command: Command) -> Self {
        let mut process = Running(command.stdout(Stdio::piped()).spawn().unwrap());
        let output = BufReader::new(process.0.stdout.take().unwrap());
        Self { process, output, said: String::new() }
    }

    /// Waits for the next line with these words.
    pub fn hear(&mut self, words: &str) {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "it ended before {words:?}:\n{}", self.said);
            self.said += &line;
        }
    }

    /// Sends it this signal.
    pub fn signal(&self, signal: Kill) {
        kill_process(Pid::from_child(&self.process.0), signal).unwrap();
    }

    /// Stops it, and waits until it stands still.
    pub fn stop(&self) {
        self.signal(Kill::STOP);
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", self.process.0.id())).unwrap();
        while !stat().rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
            std::thread::yield_now();
        }
    }

    /// Its end by itself, and all that it said.
    pub fn finish(mut self) -> String {
        self.output.read_to_string(&mut self.said).unwrap();
        assert!(self.process.0.wait().unwrap().success());
        self.said
    }
}

fn thousands(n: u64) -> String {
    format!("{},{:03}", n / 1_000, n % 1_000)
}

/// A sidecar that dies and comes again: the strategy stands aside, goes over to the new ring and looks names up again; one
/// that it does not know is of no concern.
#[test]
fn the_strategy_follows_a_restart() {
    let place = place();
    let Some(command) = strategy(&place, &["--oldest", "--model", "mock", "--for", "120"]) else { return };
    let mut first = Sidecar::start(&place, 0);
    (0..WARMING + 10).for_each(|n| first.signal(n, n));
    let mut strategy = Strategy::start(command);
    strategy.hear("stand aside");
    strategy.hear("SELL");
    drop(first);
    let mut second = Sidecar::start(&place, WARMING + 20);
    (0..WARMING + 20).for_each(|n| second.signal(n, n));
    for words in [
        "stand down: the sidecar was restarted, this score is its predecessor's",
        "restart    signals of generation 2: rows and outputs looked up again",
        "stand aside",
        "BUY",
        "SELL",
    ] {
        strategy.hear(words);
    }
    second.page.set_state(State::Stopped);
    let said = strategy.finish();
    let summary =
        format!("summary    {} signals read, 0 lost, 0 of no concern, 1 restarts", thousands(2 * WARMING + 30));
    assert!(said.contains(&summary), "no {summary:?} in\n{said}");
}

#[test]
fn the_strategy_watches_the_board() {
    let place = place();
    let mut sidecar = Sidecar::start(&place, WARMING + 150);
    let board = ["--board", "--symbol", "ESH4", "--for", "1", "--model"];
    let Some(mut wrong) = strategy(&place, &[&board[..], &["mlp"]].concat()) else { return };
    let out = wrong.output().unwrap();
    assert!(text(&out.stderr).contains("the board has no cell of these: ESH4, mlp"), "{}", text(&out.stderr));
    (0..WARMING + 150).for_each(|n| sidecar.signal(n, n));
    let said = run(strategy(&place, &[&board[..], &["mock"]].concat()).unwrap());
    assert!(said.contains("ESH4 mock: BUY, up 1.000 down 0.000, "), "{said}");
    assert!(said.contains(" fresh\n") && said.contains(" 0 lost, 0 of no concern, 0 restarts"), "{said}");
    // HALT stands above any score: flagged on the page even if nothing new is published.
    sidecar.page.set_state(State::Halt);
    let said = run(strategy(&place, &[&board[..], &["mock"]].concat()).unwrap());
    assert!(said.contains("stand aside") && said.contains("HALT is in force") && !said.contains("fresh"), "{said}");
}
