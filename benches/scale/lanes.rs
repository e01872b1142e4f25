//! Curves of the whole line: instruments, gaps, features, models.

use std::path::Path;
use std::rc::Rc;

use super::flow::{Choice, Flow, Ids, Mix, Placing, Spec};
use super::lane::{LanePoint, Nothing, Plan, Unit};
use super::measure::{Dimension, Line, Point};
use pillion::engine::{Engine, Native, Options};
use pillion::hot::book::Limits;
use pillion::hot::features::FeatureSet;
use pillion::models::Model;

const INSTRUMENTS: [usize; 5] = [1, 10, 100, 1_000, 8_000];
const COLUMNS: [usize; 5] = [10, 30, 100, 200, 300];
const MODELS: [usize; 4] = [1, 2, 4, 8];
const BUNDLED: [&str; 2] = ["mlp-k10", "lgbm-k10"];
/// Room in each book, where many must fit in memory.
const SMALL: Limits = Limits { max_orders: 512, max_levels: 128 };
/// Room in each book as the configuration has it when it says nothing.
const USUAL: Limits = Limits { max_orders: 16_384, max_levels: 2_048 };
/// Most instruments with the usual room: 1.2 GB.
const MOST_USUAL: usize = 1_000;

fn flow(instruments: usize, choice: Choice) -> Rc<Flow> {
    let events = (instruments * 40).clamp(20_000, 240_000);
    Rc::new(Flow::new(Spec {
        instruments,
        orders: 120,
        levels: 20,
        placing: Placing::BestFirst,
        active: 120,
        choice,
        mix: Mix::Usual,
        ids: Ids::Rising,
        events,
    }))
}

fn point(plan: Plan) -> Result<Box<dyn Point>, String> {
    Ok(Box::new(LanePoint::new(plan)?))
}

fn bundled() -> FeatureSet {
    FeatureSet::bundled("book").expect("the program carries it")
}

/// The whole line against the number of instruments.
pub fn instruments() -> Result<Dimension, String> {
    let lines: [(&str, Choice, Limits, usize); 3] = [
        ("each as busy", Choice::Even, SMALL, usize::MAX),
        ("the n-th a share of 1/n", Choice::Zipf, SMALL, usize::MAX),
        ("each as busy, room for 16,384 orders each", Choice::Even, USUAL, MOST_USUAL),
    ];
    let set = bundled();
    let line = |choice, limits, most| -> Result<Line, String> {
        let counts = INSTRUMENTS.into_iter().filter(|&n| n <= most);
        let at = |n: usize| {
            let (flow, engines) = (flow(n, choice), vec![Nothing::boxed(set.len())]);
            // Each instrument several times, so that whatever stays in a cache is there.
            let warm = (n * 12).max(2_000);
            let unit = Unit::Tick;
            Ok((n as f64, point(Plan { flow, set: &set, limits, engines, weight_bytes: 0, unit, warm })?))
        };
        counts.map(at).collect()
    };
    let series = lines.map(|(name, choice, limits, most)| Ok((name.to_owned(), line(choice, limits, most)?)));
    Ok(Dimension {
        id: "instruments",
        title: "The whole line against the number of instruments (120 orders each, feature set book, a model that costs nothing)".into(),
        x_label: "instruments",
        y_label: "ns a tick, poll to publish",
        x_log: true,
        y_log: false,
        series: series.into_iter().collect::<Result<_, String>>()?,
    })
}

/// The turn that notices lost records, against the number of instruments.
pub fn gap() -> Result<Dimension, String> {
    let set = bundled();
    let at = |n: usize| {
        let (flow, engines) = (flow(n, Choice::Even), vec![Nothing::boxed(set.len())]);
        let plan = Plan { flow, set: &set, limits: SMALL, engines, weight_bytes: 0, unit: Unit::Gap, warm: 0 };
        Ok((n as f64, point(plan)?))
    };
    let line: Result<Line, String> = INSTRUMENTS.into_iter().map(at).collect();
    Ok(Dimension {
        id: "gap",
        title: "The turn that notices lost records against the number of instruments".into(),
        x_label: "instruments",
        y_label: "ns a gap",
        x_log: true,
        y_log: true,
        series: vec![("every book distrusted, its features begun anew".into(), line?)],
    })
}

/// A set of so many columns: every kind with every parameter that it takes, spread over all of them.
fn columns(wanted: usize) -> Result<FeatureSet, String> {
    let plain =
        ["spread", "microprice", "mid", "net_order_flow", "time_since_trade", "last_mid_change", "inter_arrival"];
    let mut entries: Vec<String> = plain.map(|kind| format!("kind = \"{kind}\"")).to_vec();
    let mut add = |kinds: &[&str], values: &[u32], key: &str, more: &str| {
        let lines = values.iter().flat_map(|v| kinds.iter().map(move |k| (k, v)));
        entries.extend(lines.map(|(k, v)| format!("kind = \"{k}\"\n{key} = [{v}]{more}")));
    };
    let book = ["imbalance", "level_imbalance", "depth_ratio", "microprice_distance", "order_count_imbalance"];
    let sided = ["depth", "depth_distance", "order_count", "mean_order_size", "level_price", "level_size"];
    let every: Vec<u32> = (1..=10).collect();
    add(&book, &every, "levels", "");
    add(&sided, &every, "levels", "\nsides = [\"bid\"]");
    add(&sided, &every, "levels", "\nsides = [\"ask\"]");
    add(&["ofi"], &every, "levels", "");
    add(&["ofi_scaled", "ofi"], &[1, 5], "levels", "\nhalf_life_events = [10, 20, 50, 100]");
    let decayed = ["mid_deviation", "signed_volume", "volume_imbalance", "trade_imbalance", "ewma_return"];
    let counted = ["ewma_volatility", "vwap_distance", "trade_intensity", "volume"];
    for key in ["half_life_events", "half_life_s"] {
        add(&decayed, &[1, 3, 10, 30, 100], key, "");
        add(&counted, &[1, 3, 10, 30, 100], key, "");
    }
    let sides = ["add_intensity", "cancel_intensity", "modify_intensity", "fill_intensity"];
    add(&sides, &[1, 10, 100], "half_life_s", "\nsides = [\"bid\"]");
    add(&["mid_change", "realised_volatility", "vwap_distance"], &[5, 50, 500], "window_events", "");
    let zscore = "\nof = [\"mid\", \"spread\", \"ofi\", \"volume\"]";
    add(&["zscore"], &[50, 100, 200, 500, 1_000], "window_events", zscore);
    chosen(&entries, wanted)
}

/// Entries spread over the list until there are so many columns, and no more.
fn chosen(entries: &[String], wanted: usize) -> Result<FeatureSet, String> {
    let parse = |entries: &[&String]| {
        let text: String = entries.iter().map(|entry| format!("[[feature]]\n{entry}\n")).collect();
        FeatureSet::parse(&format!("name = \"scale\"\nwarmup_events = 100\n{text}"), "scale").map_err(|e| e.to_string())
    };
    // A step that has no factor in common with the length passes every entry once.
    let mut step = entries.len() * 5 / 8;
    while (2..=step).any(|d| step.is_multiple_of(d) && entries.len().is_multiple_of(d)) {
        step += 1;
    }
    let (mut taken, mut set) = (Vec::new(), None);
    for i in 0..entries.len() {
        taken.push(&entries[i * step % entries.len()]);
        let next = parse(&taken)?;
        match next.len().cmp(&wanted) {
            std::cmp::Ordering::Less => set = Some(next),
            std::cmp::Ordering::Equal => return Ok(next),
            std::cmp::Ordering::Greater => _ = taken.pop(),
        }
    }
    let most = set.map_or(0, |set| set.len());
    Err(format!("{wanted} columns asked for, the kinds here give {most}: add parameters"))
}

/// The whole line against the number of columns, with and without a model that wants the row.
pub fn features() -> Result<Dimension, String> {
    let flow = flow(1, Choice::Even);
    let line = |model: bool| -> Result<Line, String> {
        let at = |n: usize| {
            let set = columns(n)?;
            let engines = if model { vec![Nothing::boxed(set.len())] } else { Vec::new() };
            let (flow, unit) = (Rc::clone(&flow), Unit::Event);
            Ok((n as f64, point(Plan { flow, set: &set, limits: SMALL, engines, weight_bytes: 0, unit, warm: 4_000 })?))
        };
        COLUMNS.into_iter().map(at).collect()
    };
    Ok(Dimension {
        id: "features",
        title: "The whole line against the number of features (one instrument)".into(),
        x_label: "columns",
        y_label: "ns an event, poll to publish",
        x_log: false,
        y_log: false,
        series: vec![
            ("moved on and written for a model that costs nothing".into(), line(true)?),
            ("moved on alone, no model".into(), line(false)?),
        ],
    })
}

/// The whole line against the number of models.
pub fn models() -> Result<Dimension, String> {
    let (flow, set) = (flow(1, Choice::Even), bundled());
    let line = |name: &str| -> Result<Line, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
        let shape = Model::read(&folder).map_err(|error| error.to_string())?.manifest().shape();
        let onnx =
            std::fs::read(folder.join("model.onnx")).map_err(|error| format!("{}: {error}", folder.display()))?;
        let at = |n: usize| {
            let native = |_| Native::with(&onnx, &shape, Options::default()).map_err(|refusal| refusal.to_string());
            let natives: Vec<Native> = (0..n).map(native).collect::<Result<_, _>>()?;
            let weight_bytes = natives.iter().map(Native::weight_bytes).sum();
            let engines = natives.into_iter().map(|native| Box::new(native) as Box<dyn Engine>).collect();
            let (flow, unit) = (Rc::clone(&flow), Unit::Event);
            Ok((n as f64, point(Plan { flow, set: &set, limits: SMALL, engines, weight_bytes, unit, warm: 4_000 })?))
        };
        MODELS.into_iter().map(at).collect()
    };
    let series = BUNDLED.map(|name| Ok((format!("{name}, native"), line(name)?)));
    Ok(Dimension {
        id: "models",
        title: "A triggering event against the number of models (one instrument, feature set book, each model with weights of its own)".into(),
        x_label: "models",
        y_label: "ns an event, poll to the last publish",
        x_log: false,
        y_log: false,
        series: series.into_iter().collect::<Result<_, String>>()?,
    })
}
