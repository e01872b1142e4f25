//! Feature sets: what is read, what is hashed, and what is refused in which words.

use std::collections::HashSet;

use pillion::hot::features::{FeatureSet, Kind};

const HEAD: &str = "name = \"t\"\nwarmup_events = 10\n";

fn parse(features: &str) -> pillion::Result<FeatureSet> {
    FeatureSet::parse(&format!("{HEAD}{features}"), "t.toml")
}

fn entry(body: &str) -> String {
    format!("[[feature]]\n{body}\n")
}

fn refusal(text: &str) -> String {
    let error = FeatureSet::parse(text, "t.toml").expect_err("must be refused");
    assert_eq!(error.exit_code, pillion::Error::INPUT);
    error.to_string()
}

#[test]
fn columns_are_named_and_ordered_as_written() {
    let set = parse(
        "[[feature]]\nkind = \"imbalance\"\nlevels = [5, 1]\n\
         [[feature]]\nkind = \"ofi\"\nlevels = [1, 2]\nhalf_life_s = [0.1, 1, 1.5]\nhalf_life_events = [50]\nwindow_events = [100]\n\
         [[feature]]\nkind = \"depth\"\nlevels = 3\nscale = \"log\"\n\
         [[feature]]\nkind = \"zscore\"\nof = [\"spread\"]\nwindow_events = 500\n\
         [[feature]]\nkind = \"ewma_return\"\nhalf_life_s = [0.00025]\n",
    )
    .unwrap();
    let names = [
        "imbalance_5",
        "imbalance_1",
        "ofi_1_100ms",
        "ofi_1_1s",
        "ofi_1_1500ms",
        "ofi_1_50e",
        "ofi_1_w100",
        "ofi_2_100ms",
        "ofi_2_1s",
        "ofi_2_1500ms",
        "ofi_2_50e",
        "ofi_2_w100",
        "depth_bid_3_log",
        "depth_ask_3_log",
        "zscore_spread_w500",
        "ewma_return_250us",
    ];
    assert_eq!(set.names(), names);
    assert_eq!((set.name(), set.len(), set.warmup_events()), ("t", names.len(), 10));
}

#[test]
fn bundled_sets_are_sound() {
    for (name, least, most) in [("book", 30, 48), ("all", 200, 512)] {
        let set = FeatureSet::load(name).unwrap();
        assert!((least..=most).contains(&set.len()), "{name} has {} columns", set.len());
        assert_eq!(set.names().iter().collect::<HashSet<_>>().len(), set.len());
        assert_eq!(set.name(), name);
        let path = format!("{}/config/features/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(FeatureSet::load(&path).unwrap().hash(), set.hash());
        assert_eq!(set.hash(), *blake3::hash(set.canonical().as_bytes()).as_bytes());
    }
    assert!(FeatureSet::bundled("nothing").is_none());
}

#[test]
fn every_kind_says_what_it_is() {
    for kind in Kind::ALL {
        let spec = kind.spec();
        for words in [spec.name, spec.formula, spec.unit, spec.source, spec.undefined] {
            assert!(!words.is_empty(), "{kind:?}");
        }
    }
}

#[test]
fn the_canonical_form_is_one_line_a_column() {
    let set = parse(&entry("kind = \"depth\"\nlevels = [2]\nsides = [\"ask\"]\nscale = \"log\"")).unwrap();
    assert_eq!(set.canonical(), "pillion-features 1\nwarmup_events 10\ndepth side=ask level=2 scale=log\n");
    let set = parse(&entry("kind = \"zscore\"\nof = [\"mid\"]\nwindow_events = [9]")).unwrap();
    assert!(set.canonical().ends_with("\nzscore of=mid window_events=9\n"));
}

#[test]
fn the_hash_changes_with_whatever_changes_a_value() {
    let entries = [
        "kind = \"imbalance\"\nlevels = [1, 2]",
        "kind = \"imbalance\"\nlevels = [2, 1]",
        "kind = \"imbalance\"\nlevels = [1, 3]",
        "kind = \"level_imbalance\"\nlevels = [1, 2]",
        "kind = \"depth\"\nlevels = [1]",
        "kind = \"depth\"\nlevels = [1]\nscale = \"log\"",
        "kind = \"depth\"\nlevels = [1]\nsides = [\"bid\"]",
        "kind = \"depth\"\nlevels = [1]\nsides = [\"ask\", \"bid\"]",
        "kind = \"ofi\"\nlevels = [1]",
        "kind = \"ofi\"\nlevels = [1]\nhalf_life_s = [1]",
        "kind = \"ofi\"\nlevels = [1]\nhalf_life_s = [1.000001]",
        "kind = \"ofi\"\nlevels = [1]\nhalf_life_events = [1]",
        "kind = \"ofi\"\nlevels = [1]\nwindow_events = [1]",
        "kind = \"zscore\"\nof = [\"ofi\"]\nwindow_events = [5]",
        "kind = \"zscore\"\nof = [\"mid\"]\nwindow_events = [5]",
        "kind = \"zscore\"\nof = [\"mid\"]\nwindow_events = [6]",
    ];
    let mut hashes: HashSet<[u8; 32]> = entries.iter().map(|body| parse(&entry(body)).unwrap().hash()).collect();
    assert_eq!(hashes.len(), entries.len());
    let other_warmup = format!("name = \"t\"\nwarmup_events = 11\n{}", entry(entries[0]));
    assert!(hashes.insert(FeatureSet::parse(&other_warmup, "t.toml").unwrap().hash()));
}

#[test]
fn the_hash_does_not_change_with_spelling() {
    let one = parse(&entry("kind = \"ofi\"\nlevels = [1]\nhalf_life_s = [1]")).unwrap();
    let text = format!(
        "name = \"other\" # words\nwarmup_events = 10\n{}",
        entry("levels = 1\nhalf_life_s = 1.0\nkind = 'ofi'")
    );
    let same = FeatureSet::parse(&text, "elsewhere.toml").unwrap();
    assert_eq!(one.hash_hex(), same.hash_hex());
    let split = entry("kind = \"imbalance\"\nlevels = [1]") + &entry("kind = \"imbalance\"\nlevels = [2]");
    assert_eq!(parse(&split).unwrap().hash(), parse(&entry("kind = \"imbalance\"\nlevels = [1, 2]")).unwrap().hash());
}

#[test]
fn hashes_of_the_bundled_sets_change_only_on_purpose() {
    // A model names the hash it was trained on: whoever changes these lines retrains the bundled models.
    let line = |name| FeatureSet::bundled(name).unwrap().hash_hex();
    assert_eq!(line("book"), BOOK);
}

const BOOK: &str = "5d0e53a639556da15e2e9865a4e577b568d1b275589cccdb14f0332e60a95865";

#[test]
fn refusals_name_file_key_value_and_mend() {
    let refused = |body: &str| refusal(&format!("{HEAD}{}", entry(body)));
    let cases = [
        (
            "kind = \"spred\"",
            "t.toml: feature 1 (spred): kind: \"spred\" is no kind of feature\n  mend: use one of spread, mid,",
        ),
        ("levels = [1]", "t.toml: feature 1: kind: is missing\n  mend: add kind = \"...\""),
        ("kind = 7", "t.toml: feature 1: kind: 7 is not a string"),
        (
            "kind = \"spread\"\nlevels = [1]",
            "feature 1 (spread): levels: unknown key (value [1])\n  mend: remove it; known here: kind",
        ),
        (
            "kind = \"ofi\"\nlevels = [1]\nhalflife = 3",
            "(ofi): halflife: unknown key (value 3)\n  mend: remove it; known here: kind, levels, half_life_s, half_life_events, window_events",
        ),
        ("kind = \"imbalance\"", "(imbalance): levels: is missing\n  mend: add levels = [..], each from 1 to 10"),
        ("kind = \"imbalance\"\nlevels = [1, 11]", "(imbalance): levels: 11 is not a whole number from 1 to 10"),
        ("kind = \"level_gap\"\nlevels = [10]", "(level_gap): levels: 10 is not a whole number from 1 to 9"),
        ("kind = \"imbalance\"\nlevels = [0.5]", "levels: 0.5 is not a whole number"),
        ("kind = \"imbalance\"\nlevels = []", "levels: [] is empty\n  mend: name at least one value or remove levels"),
        (
            "kind = \"depth\"\nlevels = [1]\nsides = [\"buy\"]",
            "sides: \"buy\" is no side\n  mend: use \"bid\" and \"ask\"",
        ),
        (
            "kind = \"depth\"\nlevels = [1]\nscale = \"sqrt\"",
            "scale: \"sqrt\" is no scale\n  mend: use \"raw\" or \"log\"",
        ),
        (
            "kind = \"ewma_return\"",
            "feature 1 (ewma_return): says nothing of its memory\n  mend: add one of half_life_s, half_life_events",
        ),
        (
            "kind = \"ewma_return\"\nhalf_life_s = [0]",
            "half_life_s: 0 is not a duration from 0.000001 to 86400 seconds",
        ),
        ("kind = \"ewma_return\"\nhalf_life_s = [nan]", "half_life_s: nan is not a duration"),
        (
            "kind = \"ewma_return\"\nhalf_life_events = [-3]",
            "half_life_events: -3 is not a whole number from 1 to 1000000",
        ),
        (
            "kind = \"realised_volatility\"\nwindow_events = [9000]",
            "window_events: 9000 is not a whole number from 1 to 8192",
        ),
        (
            "kind = \"zscore\"\nof = [\"x\"]\nwindow_events = 5",
            "of: \"x\" is no series\n  mend: use some of mid, spread, bid_size",
        ),
        (
            "kind = \"imbalance\"\nlevels = [1, 1]",
            "t.toml: feature: column `imbalance_1` is declared twice\n  mend: remove one of them",
        ),
    ];
    for (body, words) in cases {
        let said = refused(body);
        assert!(said.contains(words), "{body}\nsaid: {said}\nnot:  {words}");
    }
}

#[test]
fn refusals_of_the_head() {
    let one = entry("kind = \"spread\"");
    let cases = [
        (format!("warmup_events = 1\n{one}"), "t.toml: name: is missing"),
        (format!("name = \"a b\"\nwarmup_events = 1\n{one}"), "t.toml: name: \"a b\" is not a name\n  mend: use a-z"),
        (format!("name = \"a\"\n{one}"), "t.toml: warmup_events: is missing"),
        (format!("name = \"a\"\nwarmup_events = \"x\"\n{one}"), "t.toml: warmup_events: \"x\" is not a whole number"),
        (
            format!("{HEAD}colour = 1\n{one}"),
            "t.toml: colour: unknown key (value 1)\n  mend: remove it; known here: name, warmup_events, feature",
        ),
        (HEAD.to_string(), "t.toml: feature: is missing"),
        (format!("{HEAD}feature = []"), "t.toml: feature: [] is not a list of tables"),
        (format!("{HEAD}feature = [3]"), "t.toml: feature 1: 3 is not a table"),
        ("name = ".to_string(), "t.toml: is not TOML"),
    ];
    for (text, words) in cases {
        let said = refusal(&text);
        assert!(said.contains(words), "{text}\nsaid: {said}\nnot:  {words}");
    }
    let wide = "kind = \"ofi\"\nlevels = [1,2,3,4,5,6,7,8,9,10]\nwindow_events = [".to_string();
    let many: Vec<String> = (1..60).map(|n| n.to_string()).collect();
    let said = refusal(&format!("{HEAD}{}", entry(&format!("{wide}{}]", many.join(",")))));
    assert!(said.contains("expands to 590 columns, more than 512"), "{said}");
}

#[test]
fn sets_that_cannot_be_loaded() {
    let said = FeatureSet::load("nothing").unwrap_err().to_string();
    assert!(
        said.contains("feature set nothing: is not a bundled set") && said.contains("bundled set: book, all"),
        "{said}"
    );
    let said = FeatureSet::load("no/such.toml").unwrap_err().to_string();
    assert!(
        said.contains("feature set no/such.toml: cannot be read: No such file")
            && said.contains("give the path of a TOML file"),
        "{said}"
    );
}
