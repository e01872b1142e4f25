//! The HTML page of a report: whole, offline, unbreakable, and drawn by a real browser at two widths.

mod common;
#[path = "common/sample_report.rs"]
mod sample_report;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::skip;
use pillion::lab::page::render;
use pillion::report::{LabReport, Stage};
use sha2::{Digest, Sha256};

/// Charts of the sample: three for each of its three runs, one of its sweep, two curves.
const CHARTS: usize = 3 * 3 + 1 + 2;

/// Nothing on the page asks for anything: no address in an attribute or a style, and a policy that refuses the rest.
#[test]
fn the_page_asks_for_nothing() {
    let page = render(&sample_report::lab());
    for asks in ["src=", "@import", "url(", "<link", "<iframe", "<img", "fetch(", "XMLHttpRequest", "WebSocket"] {
        assert!(!page.contains(asks), "{asks}");
    }
    for target in page.split("href=\"").skip(1) {
        assert!(target.starts_with('#'), "{}", &target[..target.len().min(40)]);
    }
    assert!(page.contains("default-src &#39;none&#39;"), "a policy");
    assert!(page.len() < 900_000, "{} bytes", page.len());
}

/// What stands first: verdict, corrected beside uncorrected, losses, grade with the worst checks, origin.
#[test]
fn the_head_says_what_matters() {
    let report = sample_report::lab();
    let page = render(&report);
    let head = &page[page.find("<main>").unwrap()..page.find("id=\"runs\"").unwrap()];
    for words in [
        "FAIL",
        "1 of 3 runs did not hold",
        "4,123 ticks were lost",
        "4,123</b>",
        "run 1 of 3, rate poisson 20000/s",
        "corrected",
        "uncorrected",
        ">C</div>",
        "governor",
        "hyperthreading",
        "irq_affinity",
        "mlp-k10 r3",
        "esh4-glbx-mdp3-20231225.mbo.dbn.zst",
        "935829b4c1d7 · release",
    ] {
        assert!(head.contains(words), "no {words} in the head");
    }
    let order =
        ["FAIL", "<h2>Tick to signal", "<h2>Host</h2>", "git revision"].map(|words| head.find(words).expect(words));
    assert!(order.is_sorted(), "{order:?}");
}

/// A run that held alone passes, with the figures of its report.
#[test]
fn a_single_run_is_a_page() {
    let mut report = sample_report::lab();
    report.runs.truncate(1);
    report.sweep = None;
    let corrected = &mut report.runs[0].reader.stages;
    let figures =
        Stage { count: 10, p50_ns: 761, p90_ns: 800, p99_ns: 1_234, p999_ns: 56_700, p9999_ns: 1, max_ns: 8_900_000 };
    corrected.insert("tick_to_signal_corrected".into(), figures);
    let page = render(&report);
    let head = &page[..page.find("id=\"run-1\"").unwrap()];
    for words in ["PASS", "761 ns", "1.23 µs", "56.7 µs", "8.90 ms", "the run held its rate"] {
        assert!(head.contains(words), "no {words}");
    }
    assert!(!head.contains("FAIL"));
    report.runs[0].reader = Default::default();
    report.runs[0].paced_ticks = 0;
    let page = render(&report);
    let [first, none] =
        ["<td>uncorrected</td>", "no due times at this rate: nothing to correct"].map(|w| page.find(w).unwrap());
    assert!(first < none, "the figures that there are stand first");
}

/// Every text of a report, made hostile, is shown and stays text.
#[test]
fn no_text_breaks_out() {
    let evil = "</script><script>window.evil=1</script><img src=x onerror=\"evil\">'\"<!--";
    let mut value = serde_json::to_value(sample_report::lab()).unwrap();
    poison(&mut value, evil);
    let report: LabReport = serde_json::from_value(value).unwrap();
    let page = render(&report);
    assert!(page.matches("&lt;script&gt;window.evil").count() > 50, "the texts are on the page");
    assert_eq!(page.matches("<script").count(), 3, "data, uPlot, the page's own");
    assert_eq!(page.matches("</script>").count(), 3);
    for broken in ["<img", "<!--", "onerror=\"evil"] {
        assert!(!page.contains(broken), "{broken}");
    }
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let dom = browse(&chromium, folder.path(), &page, Window { width: 1280, height: 900, dark: false }).0;
    assert!(attribute(&dom, "data-error").is_none(), "{:?}", attribute(&dom, "data-error"));
    assert_eq!(attribute(&dom, "data-drawn"), Some(CHARTS.to_string()));
}

/// Replaces every text that is no base64, name or hash by the evil one; keys of maps too, where they are not names of stages.
fn poison(value: &mut serde_json::Value, evil: &str) {
    match value {
        serde_json::Value::String(text) => *text = evil.into(),
        serde_json::Value::Array(list) => list.iter_mut().for_each(|value| poison(value, evil)),
        serde_json::Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                let counts = value
                    .as_object()
                    .is_some_and(|map| !map.contains_key("p50_ns") && map.values().all(|n| n.is_u64()));
                if counts && (key == "book" || key == "rejects_by_reason") {
                    *value = serde_json::json!({ evil: 3 });
                } else if !(["cause", "hdr"].contains(&key.as_str()) || key == "verdict" && value.is_string()) {
                    poison(value, evil);
                }
            }
        }
        _ => {}
    }
}

/// What is not there is said in words: no chart without a line, no latency of a run without signals.
#[test]
fn what_is_missing_is_said() {
    let mut report = sample_report::lab();
    report.runs.truncate(1);
    (report.sweep, report.doctor, report.curves) = (None, None, vec![]);
    let run = &mut report.runs[0];
    run.models.clear();
    run.stages.clear();
    (run.lane.histograms, run.lane.intervals, run.lane.tail) = Default::default();
    run.reader = Default::default();
    (run.paced_ticks, run.signals) = (0, 0);
    let page = render(&report);
    for words in [
        "No signal was made, so there is no latency from tick to signal.",
        "No signal was counted, so there is no curve",
        "No stage counted anything.",
        "The run has fewer than two intervals with counts.",
        "No tick was slower than the tail",
        "No model ran",
        "no tick had a due time",
        "The host was not checked",
    ] {
        assert!(page.contains(words), "no {words}");
    }
    assert!(
        page.contains("data-charts=\"0\"") && !page.contains("NaN") && !page.contains("inf"),
        "no chart, no figure"
    );
    let ends = &mut report.runs[0];
    ends.lane.stamps = "ends".into();
    assert!(render(&report).contains("with stamps = &quot;ends&quot; the steps between are not stamped"));
    report.runs.clear();
    assert!(render(&report).contains("This report holds no run and no sweep."));
    report.sweep = Some(sample_report::sweep());
    assert!(render(&report).contains("Highest rate held within the bound"));
    let sweep = report.sweep.as_mut().unwrap();
    (sweep.knee_per_second, sweep.knee_is_bracketed) = (None, false);
    assert!(render(&report).contains("Even the lowest rate tried, 25,000/s, was not held"));
    sweep_is_open(&mut report);
}

fn sweep_is_open(report: &mut LabReport) {
    let sweep = report.sweep.as_mut().unwrap();
    sweep.knee_per_second = Some(100_000.0);
    assert!(render(report).contains("no higher rate was seen to fail: the knee is at least there"));
    report.sweep.as_mut().unwrap().steps.clear();
    assert!(render(report).contains("Fewer than two rates made signals"));
}

/// The vendored files are those of the package, and their page says so.
#[test]
fn the_chart_library_is_the_packages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lab/page/vendor/uplot");
    let page = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for file in ["uPlot.iife.min.js", "uPlot.min.css", "LICENSE"] {
        let sum = Sha256::digest(std::fs::read(folder.join(file)).unwrap());
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(page.contains(&format!("| {file} | {sum} |")), "{file} is {sum}");
    }
}

/// A browser draws every chart, on a laptop and on a phone, light and dark, with no error and nothing wider than the window.
/// `PILLION_PAGE_SHOTS` names a folder to keep the pictures, the page and its report in.
#[test]
fn a_browser_draws_it() {
    let Some(chromium) = chromium() else { return };
    let page = render(&sample_report::lab());
    for (width, height, dark) in [(1280, 900, false), (1280, 900, true), (390, 844, false), (390, 844, true)] {
        let window = Window { width, height, dark };
        let folder = tempfile::tempdir().unwrap();
        let (dom, picture) = browse(&chromium, folder.path(), &page, window);
        let said = |name: &str| attribute(&dom, name);
        assert_eq!(said("data-error"), None, "{window:?}");
        assert_eq!(said("data-ready").as_deref(), Some("yes"), "{window:?}");
        assert_eq!(said("data-drawn"), Some(CHARTS.to_string()), "{window:?}");
        assert_eq!(said("data-charts"), Some(CHARTS.to_string()), "{window:?}");
        assert_eq!(said("data-overflow").as_deref(), Some("0"), "wider than its window: {window:?}");
        assert_eq!(said("data-width"), Some(width.to_string()), "{window:?}");
        canvases(&dom, width);
        not_blank(&picture, window);
        if let Some(keep) = std::env::var_os("PILLION_PAGE_SHOTS") {
            let keep = PathBuf::from(keep);
            std::fs::copy(&picture, keep.join(format!("{width}-{}.png", if dark { "dark" } else { "light" }))).unwrap();
            std::fs::write(keep.join("page.html"), &page).unwrap();
            std::fs::write(keep.join("report.json"), serde_json::to_vec(&sample_report::lab()).unwrap()).unwrap();
        }
    }
}

/// A window to look through.
#[derive(Clone, Copy, Debug)]
struct Window {
    width: u32,
    height: u32,
    dark: bool,
}

/// Chromium's name, or `None` with a line that says what is skipped.
fn chromium() -> Option<String> {
    let there = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(there);
    if found.is_none() {
        skip("no chromium (scripts/setup-toolchain installs it)");
    }
    found.map(String::from)
}

/// Loads the page in a frame as wide and high as the window asks (a browser's own window is never as narrow as a phone's) and
/// answers the attributes that its body ends with and a picture.
fn browse(chromium: &str, folder: &Path, page: &str, window: Window) -> (String, PathBuf) {
    let Window { width, height, dark } = window;
    std::fs::write(folder.join("page.html"), page).unwrap();
    let frame = format!(
        "<!doctype html><style>body,iframe{{margin:0;border:0;display:block}}</style>\
         <iframe id=f src=page.html style='width:{width}px;height:{height}px'></iframe>\
         <pre id=dom hidden></pre><script>onload=()=>{{const d=document.getElementById('f').contentDocument;\
         d.body.dataset.width=f.contentWindow.innerWidth;\
         dom.textContent=d.body.outerHTML.split('<main>')[0]+[...d.querySelectorAll('[data-chart]')].map(p=>{{\
         const c=p.querySelector('canvas');return '<canvas '+(c?c.clientWidth+' '+c.clientHeight:'none')+'>'}}).join('')}}</script>"
    );
    std::fs::write(folder.join("frame.html"), frame).unwrap();
    let picture = folder.join("page.png");
    let common = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--allow-file-access-from-files",
        "--virtual-time-budget=20000",
    ];
    let start = |what: &str| {
        let mut command = Command::new(chromium);
        command.args(common).arg(what);
        command.arg(format!("--user-data-dir={}", folder.join("profile").display()));
        command.arg(format!("--window-size={},{}", width.max(600), height));
        command.arg(format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 }));
        command.arg(format!("file://{}", folder.join("frame.html").display())).stderr(Stdio::null());
        command.output().unwrap()
    };
    start(&format!("--screenshot={}", picture.display()));
    let dom = String::from_utf8(start("--dump-dom").stdout).unwrap();
    let said = dom.split("<pre id=\"dom\" hidden=\"\">").nth(1).unwrap_or_else(|| panic!("no page: {dom}"));
    let said = said.split("</pre>").next().unwrap().replace("&lt;", "<").replace("&gt;", ">");
    (said, picture)
}

/// The value of an attribute of the body.
fn attribute(dom: &str, name: &str) -> Option<String> {
    Some(dom.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?.to_owned())
}

/// Every chart has a canvas with room, within the window.
fn canvases(dom: &str, width: u32) {
    let sizes: Vec<_> = dom.split("<canvas ").skip(1).map(|c| c.split('>').next().unwrap()).collect();
    assert_eq!(sizes.len(), CHARTS, "{dom}");
    for size in sizes {
        let sides: Vec<u32> = size.split(' ').filter_map(|side| side.parse().ok()).collect();
        assert!(sides.len() == 2 && (200..=width).contains(&sides[0]) && sides[1] >= 150, "a canvas of {size}");
    }
}

/// The picture has the colours of a page and not of an empty one, and is dark where it should be.
fn not_blank(picture: &Path, window: Window) {
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(picture).expect("a picture")));
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().expect("a size that fits")];
    let info = reader.next_frame(&mut bytes).unwrap();
    let step = info.color_type.samples();
    let pixels = || bytes[..info.buffer_size()].chunks(step);
    let colours: HashSet<_> = pixels().map(|pixel| &pixel[..3]).collect();
    assert!(colours.len() > 100, "{} colours: {window:?}", colours.len());
    let inside = pixels().enumerate().filter(|(i, _)| (*i as u32) % info.width < window.width).map(|(_, pixel)| pixel);
    let (sum, n) = inside.fold((0_u64, 0_u64), |(sum, n), pixel| (sum + u64::from(pixel[1]), n + 1));
    let light = sum / n;
    assert_eq!(light < 110, window.dark, "{light} of 255 on average: {window:?}");
}
