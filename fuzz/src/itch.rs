//! ITCH files from any bytes, plain or packed.

use crate::decode::Checked;
use crate::regions;
use pillion::data::{itch, load};
use pillion::hot::book::Limits;

/// A conversion is refused with the file's name, or what it wrote is read and applied without a reject.
pub fn run(file: &[u8]) {
    regions::with_bench(|bench| {
        let (input, output) = (bench.file("fuzz.itch"), bench.file("fuzz-itch.dbn"));
        std::fs::write(&input, file).expect("the bench can be written");
        let options = itch::Options { date: "2019-12-30".parse().ok(), symbols: Vec::new(), ..Default::default() };
        let summary = match itch::convert_file(&input, &output, &options, &Default::default()) {
            Ok(summary) => summary,
            Err(error) => return assert!(error.to_string().contains("fuzz.itch"), "{error}"),
        };
        let feed = load(&output).expect("just written");
        // What is left out are the definitions ahead of the records, one for each stock that has any.
        assert_eq!((feed.records, feed.skipped), (summary.records, feed.instruments.len() as u64));
        assert!(summary.events <= summary.types.values().sum(), "a message is one event at most");
        if let Ok(mut checked) = Checked::new(&feed.instruments, Limits { max_orders: 16, max_levels: 8 }) {
            feed.iter().for_each(|record| checked.record(record));
            checked.finish();
        }
    });
}
