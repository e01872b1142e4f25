//! `pillion doctor` as its user runs it, on whatever machine this is.

mod common;

use std::collections::BTreeSet;

use common::*;
use serde_json::Value;

fn doctor(args: &[&str]) -> std::process::Output {
    output(pillion().arg("doctor").args(args))
}

fn json(args: &[&str]) -> Value {
    let out = doctor(&[args, &["--json"]].concat());
    let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(&out)));
    told(&out, &report["grade"] == "F");
    report
}

/// The exit code says whether the grade is one to run on, and standard error which it is.
fn told(out: &std::process::Output, unfit: bool) {
    assert_eq!(out.status.code(), Some(i32::from(unfit)), "{}", stderr(out));
    assert_eq!(stderr(out).contains("grade F, worse than D"), unfit, "{}", stderr(out));
}

fn check<'a>(report: &'a Value, id: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check {id}"))
}

/// Every key is there, every check once, and whatever is poor has its mend.
#[test]
fn the_json_has_what_it_promises() {
    let _alone = one_at_a_time();
    let clock = std::path::Path::new("/dev/shm/pillion.clock");
    let had = clock.exists();
    let report = json(&["--seconds", "0.3"]);
    assert!(["A", "B", "C", "D", "F"].contains(&report["grade"].as_str().expect("a grade")), "{report}");
    let allowed = pillion::host::cores::allowed();
    let core = report["core"].as_u64().expect("a number") as usize;
    assert!(allowed.contains(&core), "the one that a lane gets: the last that no other lane has");
    assert_eq!(report["date"].as_str().map(str::len), Some("2026-01-01T00:00:00Z".len()));
    assert_eq!(report["host"]["cpus"].as_u64(), Some(allowed.len() as u64));
    let checks = report["checks"].as_array().expect("checks");
    let mut ids = BTreeSet::new();
    for check in checks {
        let text = |key: &str| check[key].as_str().unwrap_or_else(|| panic!("{key} of {check}")).to_owned();
        assert!(ids.insert(text("id")), "{check}");
        for key in ["id", "weight", "value", "why", "mend"] {
            assert!(!text(key).trim().is_empty(), "{key} of {check}");
        }
        assert!(["good", "poor", "unknown"].contains(&text("verdict").as_str()), "{check}");
    }
    assert!(checks.len() >= 35, "{}", checks.len());
    let probe = &report["probe"];
    assert!(probe["span_ns"].as_u64() >= Some(290_000_000), "{probe}");
    assert!(probe["largest_hole_ns"].as_u64() > Some(0) && probe["lost_ppm"].is_number(), "{probe}");
    let counted: u64 = probe["histogram"].as_array().expect("buckets").iter().map(|b| b[1].as_u64().expect("n")).sum();
    assert!(counted >= probe["above_1us"].as_u64().expect("a count"), "{probe}");
    // Nothing is left behind; a lane of another process may have made the clock meanwhile, but only where it runs.
    assert!(had || !clock.exists() || !lanes().is_empty(), "the doctor made {}", clock.display());
}

/// Control pages in /dev/shm.
fn lanes() -> Vec<String> {
    let names = std::fs::read_dir("/dev/shm").expect("/dev/shm").filter_map(|e| e.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with("pillion.") && name != "pillion.clock").collect()
}

#[test]
fn without_the_probe_what_needs_it_is_unknown() {
    let report = json(&["--seconds", "0", "--core", &pillion::host::cores::allowed()[0].to_string()]);
    assert!(report["probe"].is_null());
    for id in ["gap_probe", "irq_counts", "steal"] {
        assert_eq!(check(&report, id)["verdict"], "unknown");
    }
    assert_ne!(report["grade"], "A");
    let bar = |grade: &str| doctor(&["--seconds", "0", "--at-least", grade]).status.code();
    assert_eq!((bar("f"), bar("A")), (Some(0), Some(1)), "no grade is worse than F, and A needs the probe");
}

#[test]
fn a_person_reads_the_grade_first_and_a_mend_for_what_is_poor() {
    let out = output(pillion().args(["doctor", "--seconds", "0"]).env("COLUMNS", "80"));
    let text = stdout(&out);
    told(&out, text.contains("\ngrade F"));
    assert!(text.starts_with("CPU ") && text.contains("\ngrade "), "{text}");
    let poor = text.lines().filter(|line| line.starts_with("poor ")).count();
    assert_eq!(text.matches("\n        mend  ").count(), poor, "{text}");
    assert_eq!(text.matches("\n        why   ").count(), poor, "{text}");
}

#[test]
fn what_cannot_be_is_refused() {
    for (args, words) in [
        (&["--core", "9999"][..], &["--core 9999", "no such CPU", "mend: ", "CPUs it may use"][..]),
        (&["--seconds", "-1"], &["-1"]),
        (&["--seconds", "3601"], &["from 0 to 3600"]),
        (&["--core", "x"], &["--core"]),
        (&["--at-least", "E"], &["--at-least"]),
    ] {
        let out = doctor(args);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", stderr(&out));
        assert_eq!(stdout(&out), "");
        words.iter().for_each(|word| assert!(stderr(&out).contains(word), "{word}: {}", stderr(&out)));
    }
}
