//! Market data files from any bytes.

use crate::decode::Checked;
use crate::regions;
use pillion::data;
use pillion::hot::book::Limits;

/// Where an honest file's records begin is the seeds' to show; here every byte is the fuzzer's.
pub fn run(file: &[u8]) {
    regions::with_bench(|bench| {
        let path = bench.file("fuzz.dbn");
        std::fs::write(&path, file).expect("the bench can be written");
        let feed = match data::load(&path) {
            Ok(feed) => feed,
            Err(error) => return assert!(error.to_string().contains("fuzz.dbn"), "{error}"),
        };
        let words: usize = feed.iter().map(<[u64]>::len).sum();
        assert_eq!((words, feed.iter().count() as u64), (feed.words.len(), feed.records), "records fill the words");
        assert!(feed.iter().all(|record| record.len() <= feed.max_record_words));
        // Symbols of any length are the file's; a lane takes only those that fit, and says so.
        if let Ok(mut checked) = Checked::new(&feed.instruments, Limits { max_orders: 16, max_levels: 8 }) {
            feed.iter().for_each(|record| checked.record(record));
            checked.finish();
        }
    });
}
