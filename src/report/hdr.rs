//! Histograms of a report as HdrHistogram knows them: out of buckets, and to and from the encoding that logs hold.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use crate::error::{Error, Result};
use crate::hot::stamp::MAX_NS;
use crate::report::Buckets;

/// Largest latency that is believed, ns: 146 years. More is a damaged file.
const LARGEST_NS: u64 = 1 << 62;

/// Most counts that are believed: what a JSON number holds exactly, and so many that no sum of them overflows.
const MOST_COUNTS: u64 = 1 << 53;

/// Most bytes that an encoded histogram is inflated to: a hundred times what a report's histograms take.
const MOST_BYTES: u64 = 1 << 22;

/// Bytes before the counts of the V2 encoding.
const HEADER_BYTES: usize = 40;

/// A histogram with the fewest significant digits, 2 to 5, at which each bucket stays the bucket that it was; its values are ns.
/// `thing` names the buckets in the error of one that no histogram could have.
pub fn of_buckets(buckets: &Buckets, thing: &str) -> Result<Histogram<u64>> {
    let largest = buckets.iter().map(|(upper, _)| *upper).max().unwrap_or(0);
    if largest > LARGEST_NS {
        let problem = format!("a bucket ends at {largest} ns, over {LARGEST_NS}");
        return Err(Error::input(thing, problem, "give the report as it was written"));
    }
    let total = buckets.iter().try_fold(0_u64, |sum, (_, count)| sum.checked_add(*count));
    if total.is_none_or(|total| total > MOST_COUNTS) {
        return Err(Error::input(
            thing,
            format!("holds more than {MOST_COUNTS} counts"),
            "give the report as it was written",
        ));
    }
    let make = |digits| {
        let high = largest.max(MAX_NS);
        Histogram::<u64>::new_with_bounds(1, high, digits).map_err(|e| Error::run(thing, e, "report this as a bug"))
    };
    let mut h = make(2)?;
    for digits in 3..=5 {
        if buckets.iter().all(|(upper, _)| h.highest_equivalent(*upper) == *upper) {
            break;
        }
        h = make(digits)?;
    }
    for (upper, count) in buckets {
        h.record_n(*upper, *count).map_err(|e| Error::input(thing, e, "give the report as it was written"))?;
    }
    Ok(h)
}

/// HdrHistogram's V2 compressed encoding in base64.
pub fn encode(h: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    let written = V2DeflateSerializer::new().serialize(h, &mut bytes);
    written.expect("a histogram of 64-bit counts below 2^63 goes into memory");
    STANDARD.encode(bytes)
}

/// Reads what [`encode`] wrote; `thing` names the text in the error.
pub fn decode(text: &str, thing: &str) -> Result<Histogram<u64>> {
    read(text).map_err(|problem| Error::input(thing, problem, "give the report as it was written"))
}

/// [`decode`], with the problem alone as its error.
pub fn read(text: &str) -> std::result::Result<Histogram<u64>, String> {
    let bytes = STANDARD.decode(text).map_err(|e| format!("is no base64: {e}"))?;
    let [0x1c, 0x84, 0x93, 0x14, _, _, _, _, deflated @ ..] = bytes.as_slice() else {
        return Err("is no histogram in HdrHistogram's V2 compressed encoding".to_owned());
    };
    let mut inner = Vec::new();
    let inflated = ZlibDecoder::new(deflated).take(MOST_BYTES).read_to_end(&mut inner);
    inflated.map_err(|e| format!("is no histogram: {e}"))?;
    // The deserialiser allocates the length that it is told, up to 4 GiB, before it reads.
    let told = match inner.as_slice() {
        [0x1c, 0x84, 0x93, 0x13, a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d]) as usize),
        _ => None,
    };
    if told.is_none() || told != inner.len().checked_sub(HEADER_BYTES) {
        return Err(format!("is no histogram: its {} bytes are not what its header says", inner.len()));
    }
    let h: Histogram<u64> =
        Deserializer::new().deserialize(&mut inner.as_slice()).map_err(|e| format!("is no histogram: {e}"))?;
    if h.len() > MOST_COUNTS {
        return Err(format!("holds more than {MOST_COUNTS} counts"));
    }
    Ok(h)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::report::buckets;
    use hdrhistogram::serialization::V2Serializer;
    use proptest::prelude::*;

    /// The inner encoding, deflated as [`encode`] does.
    fn deflated(inner: &[u8]) -> String {
        let mut bytes = vec![0x1c, 0x84, 0x93, 0x14, 0, 0, 0, 0];
        let mut deflate = flate2::write::ZlibEncoder::new(&mut bytes, flate2::Compression::default());
        deflate.write_all(inner).unwrap();
        deflate.finish().unwrap();
        STANDARD.encode(bytes)
    }

    proptest! {
        /// Buckets of 2 and 3 digits come back as they were, with their counts.
        #[test]
        fn buckets_stay_what_they_were(values in prop::collection::vec(1u64..MAX_NS, 1..200), digits in 2u8..=3) {
            let mut h = Histogram::<u64>::new_with_bounds(1, MAX_NS, digits).unwrap();
            values.iter().for_each(|v| h.record(*v).unwrap());
            let made = buckets(&h);
            prop_assert_eq!(buckets(&of_buckets(&made, "x").unwrap()), made);
            let back = decode(&encode(&h), "x").unwrap();
            prop_assert_eq!(back, h);
        }

        /// No text makes the decoder panic.
        #[test]
        fn any_text_is_an_answer(text in "[A-Za-z0-9+/=]{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&text, "x");
            let _ = decode(&STANDARD.encode(&bytes), "x");
            let cookie = [&[0x1c, 0x84, 0x93, 0x14][..], &bytes].concat();
            let _ = decode(&STANDARD.encode(cookie), "x");
            let _ = decode(&deflated(&bytes), "x");
        }
    }

    #[test]
    fn no_text_makes_the_decoder_allocate_what_it_says() {
        let mut h = Histogram::<u64>::new_with_bounds(1, MAX_NS, 2).unwrap();
        (1..1_000).for_each(|ns| h.record(ns).unwrap());
        let mut inner = Vec::new();
        V2Serializer::new().serialize(&h, &mut inner).unwrap();
        assert_eq!(decode(&deflated(&inner), "x").unwrap(), h);
        // Not compressed, of either cookie; and compressed, of a length that is not there.
        for cookie in [[0x1c, 0x84, 0x93, 0x03], [0x1c, 0x84, 0x93, 0x13]] {
            let raw = [&cookie[..], &[0xff; 4], &inner[8..]].concat();
            assert!(decode(&STANDARD.encode(&raw), "x").is_err());
            assert!(decode(&deflated(&raw), "x").is_err());
        }
        // Compressed twice: the deserialiser would take the inner one by itself.
        let raw = [&inner[..4], &[0xff; 4], &inner[8..]].concat();
        let once = STANDARD.decode(deflated(&raw)).unwrap();
        assert!(decode(&deflated(&once), "x").is_err());
        // A bomb: its length is true, and too much.
        let mut bomb = inner.clone();
        bomb.resize(64 << 20, 0);
        bomb[4..8].copy_from_slice(&((64 << 20) - 40_u32).to_be_bytes());
        let text = deflated(&bomb);
        assert!(text.len() < 1 << 20, "{} bytes", text.len());
        assert!(decode(&text, "x").unwrap_err().to_string().contains("4194304 bytes"));
    }

    #[test]
    fn a_bucket_of_another_age_is_refused() {
        let error = of_buckets(&vec![(u64::MAX, 1)], "run 1, wait").unwrap_err().to_string();
        assert!(error.contains("run 1, wait") && error.contains("18446744073709551615"), "{error}");
        assert!(decode("no base64!", "interval 3").unwrap_err().to_string().contains("interval 3"));
    }
}
