use pillion_shm::*;
#[test]
fn smoke() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let clock = Clock::attach_or_create(dir.path()).unwrap();
    let again = Clock::attach_or_create(dir.path()).unwrap();
    assert_eq!(clock.id(), again.id());
    let lane = Lane::in_dir(dir.path(), "t").unwrap();
    let spec = RingSpec { capacity: 8, record_words: 14, table: vec![1, 2, 3] };
    let mut w = RingWriter::create(&lane, Kind::Ticks, &spec, &clock, &Access::default()).unwrap();
    let mut r = RingReader::attach(&lane, Kind::Ticks, From::Next, &clock).unwrap();
    for i in 0..100 {
        w.publish(&[i; 14]);
    }
    let mut out = [0; 14];
    assert_eq!(r.poll(&mut out), Poll::Lost(92));
    for i in 92..100 {
        assert!(matches!(r.poll(&mut out), Poll::Record { ring_seq, .. } if ring_seq == i));
        assert_eq!(out, [i; 14]);
    }
    assert_eq!(r.poll(&mut out), Poll::Empty);
    assert_eq!(r.table(), [1, 2, 3]);
    assert!(r.owner_alive());
    assert!(matches!(
        RingWriter::create(&lane, Kind::Ticks, &spec, &clock, &Access::default()),
        Err(Error::Held { .. })
    ));
    drop(w);
    assert!(!r.owner_alive() && !r.superseded());
    let w = RingWriter::create(&lane, Kind::Ticks, &spec, &clock, &Access::default()).unwrap();
    assert_eq!(w.generation(), 2);
    assert!(r.successor() && r.superseded());
    w.unlink().unwrap();
    println!("{clock:?} {}", clock.now_ns());
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["pillion.clock"]);
}
