//! The kill switch when things are broken already: a sidecar that is down, in BOOT or being replaced, a clock that is gone.
#![cfg(not(loom))]

mod common;

use common::{Place, place};
use pillion_shm::{Access, Clock, CncClient, CncOwner, Command, Error, Kind, Outcome, State};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn owner(place: &Place) -> CncOwner {
    CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap()
}

fn order(place: &Place, command: Command) -> Result<Outcome, Error> {
    CncClient::attach_operator(&place.lane).unwrap().order(command, SOON)
}

/// Obeys as a sidecar does, until told to end.
fn serve(page: &CncOwner, end: &AtomicBool) {
    while !end.load(Ordering::Relaxed) {
        let Some(request) = page.poll_mailbox() else {
            std::thread::yield_now();
            continue;
        };
        page.set_halted(request.command == Some(Command::Halt));
        page.answer(&request, Outcome::Done);
    }
}

#[test]
fn a_dead_sidecars_lane_is_halted_and_resumed() {
    let place = place();
    let page = owner(&place);
    page.set_state(State::Run);
    drop(page);
    let look = CncClient::attach(&place.lane, &place.clock).unwrap();
    assert!(!look.halted());
    assert_eq!(order(&place, Command::Halt).unwrap(), Outcome::Done);
    assert_eq!((look.halted(), look.state(), look.owner_alive()), (true, State::Run, false));
    let next = owner(&place);
    assert!(next.start_halted(), "the next sidecar starts halted");
    next.set_state(State::Halt);
    drop(next);
    assert_eq!(order(&place, Command::Resume).unwrap(), Outcome::Done);
    assert!(!owner(&place).start_halted());
}

/// Nobody is there to stop, and who only reads gives no orders.
#[test]
fn what_cannot_be_done_is_refused() {
    let place = place();
    drop(owner(&place));
    assert!(matches!(order(&place, Command::Stop).unwrap_err(), Error::NoOwner { .. }));
    let mut reader = CncClient::attach(&place.lane, &place.clock).unwrap();
    assert!(matches!(reader.order(Command::Halt, SOON).unwrap_err(), Error::Denied { .. }));
    let mut operator = CncClient::attach_operator(&place.lane).unwrap();
    std::fs::remove_file(place.lane.path(Kind::Cnc)).unwrap();
    let gone = operator.order(Command::Halt, SOON).unwrap_err();
    assert!(gone.is_absent() && gone.to_string().contains("pillion.test.cnc"), "{gone}");
}

/// An operator whose page was taken over goes over to the next sidecar's.
#[test]
fn an_order_reaches_whoever_has_the_name() {
    let place = place();
    drop(owner(&place));
    let mut operator = CncClient::attach_operator(&place.lane).unwrap();
    let next = owner(&place);
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&next, &end));
        assert_eq!(operator.order(Command::Halt, SOON).unwrap(), Outcome::Done);
        end.store(true, Ordering::Relaxed);
    });
    assert_eq!((operator.generation(), operator.halted(), next.halted()), (2, true, true));
}

/// A HALT and a take-over at once: whoever comes first, the sidecar that has the name at the end is halted.
#[test]
fn a_halt_is_never_lost_between_two_sidecars() {
    let place = place();
    let mut found_halted = 0;
    for round in 0..300_u64 {
        let page = owner(&place);
        page.set_halted(false);
        drop(page);
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let heir = scope.spawn(|| {
                std::thread::sleep(Duration::from_micros(round % 7 * 40));
                let next = owner(&place);
                let start_halted = next.start_halted();
                serve(&next, &end);
                (start_halted, next.halted())
            });
            let said = order(&place, Command::Halt);
            end.store(true, Ordering::Relaxed);
            let (start_halted, halted) = heir.join().unwrap();
            assert_eq!(said.unwrap(), Outcome::Done);
            assert!(halted, "round {round}: done, and the lane is not halted");
            found_halted += u64::from(start_halted);
        });
    }
    println!("{found_halted} of 300 sidecars found the HALT, the others were asked");
}

/// Whatever became of the clock's file, orders are taken, by a live sidecar and for a dead one.
#[test]
fn orders_need_no_clock() {
    let place = place();
    let page = owner(&place);
    std::fs::remove_file(place.lane.path(Kind::Clock)).unwrap();
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&page, &end));
        assert_eq!(order(&place, Command::Halt).unwrap(), Outcome::Done);
        std::fs::write(place.lane.path(Kind::Clock), "junk").unwrap();
        assert_eq!(order(&place, Command::Resume).unwrap(), Outcome::Done);
        std::fs::remove_file(place.lane.path(Kind::Clock)).unwrap();
        let other = Clock::attach_or_create(place.lane.dir()).unwrap();
        assert_ne!(other.id(), place.clock.id());
        assert_eq!(order(&place, Command::Halt).unwrap(), Outcome::Done);
        end.store(true, Ordering::Relaxed);
        // Who reckons ages is told; who reads the state is not kept from it.
        let refused = CncClient::attach(&place.lane, &other).unwrap_err();
        assert!(matches!(refused, Error::Mismatch { .. }), "{refused}");
        let look = CncClient::attach_any_clock(&place.lane).unwrap();
        assert!(look.halted() && look.clock_id() == place.clock.id());
    });
    drop(page);
    assert_eq!(order(&place, Command::Resume).unwrap(), Outcome::Done);
}

/// A RESUME that nobody has carried out is withdrawn when its operator's time is up, and when another operator halts: the
/// owner finds a HALT in its place.
#[test]
fn a_resume_that_waits_is_withdrawn() {
    let place = place();
    let page = owner(&place);
    page.set_halted(true);
    let operator = || CncClient::attach_operator(&place.lane).unwrap();
    let late = operator().request(Command::Resume, Duration::from_millis(5)).unwrap_err();
    assert!(matches!(late, Error::NoAnswer { .. }), "{late}");
    let found = page.poll_mailbox().expect("asked");
    assert_eq!((found.command, found.withdrawn), (Some(Command::Halt), true));
    page.answer(&found, Outcome::Done);
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let resume = scope.spawn(|| operator().request(Command::Resume, SOON).unwrap());
        let asked = loop {
            if let Some(asked) = page.poll_mailbox() {
                break asked;
            }
            std::thread::yield_now();
        };
        let halt = scope.spawn(|| operator().request(Command::Halt, SOON).unwrap());
        let changed = loop {
            let now = page.poll_mailbox().expect("nobody answers");
            if now.withdrawn {
                break now;
            }
            std::thread::yield_now();
        };
        assert!(asked.command == Some(Command::Resume) && !page.take(&asked) && page.take(&changed));
        page.answer(&changed, Outcome::Done);
        scope.spawn(|| serve(&page, &end));
        assert_eq!((resume.join().unwrap(), halt.join().unwrap()), (Outcome::Refused, Outcome::Done));
        end.store(true, Ordering::Relaxed);
    });
}
