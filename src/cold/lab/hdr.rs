//! Histograms of a report as HdrHistogram knows them: out of buckets, and to and from the encoding that logs hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use crate::cold::report::Buckets;
use crate::error::{Error, Result};
use crate::hot::stamp::MAX_NS;

/// Largest latency that is believed, ns: 146 years. More is a damaged file.
const LARGEST_NS: u64 = 1 << 62;

/// Most counts that are believed: what a JSON number holds exactly, and so many that no sum of them overflows.
const MOST_COUNTS: u64 = 1 << 53;

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
    let refused = |problem: String| Error::input(thing, problem, "give the report as it was written");
    let bytes = STANDARD.decode(text).map_err(|e| refused(format!("is not base64: {e}")))?;
    let read = Deserializer::new().deserialize(&mut bytes.as_slice());
    let h: Histogram<u64> =
        read.map_err(|e| refused(format!("is not an HdrHistogram in V2 compressed encoding: {e:?}")))?;
    if h.len() > MOST_COUNTS {
        return Err(refused(format!("holds more than {MOST_COUNTS} counts")));
    }
    Ok(h)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cold::report::buckets;
    use proptest::prelude::*;

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
        }
    }

    #[test]
    fn a_bucket_of_another_age_is_refused() {
        let error = of_buckets(&vec![(u64::MAX, 1)], "run 1, wait").unwrap_err().to_string();
        assert!(error.contains("run 1, wait") && error.contains("18446744073709551615"), "{error}");
        assert!(decode("no base64!", "interval 3").unwrap_err().to_string().contains("interval 3"));
    }
}
