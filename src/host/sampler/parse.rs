//! What the kernel's text files say. Whatever is not as expected is `None`: never 0, which would look like good news.

/// Time a thread was ready to run and did not, ns: the second number of its `schedstat`. A kernel that does not keep
/// account writes zeros.
pub fn runqueue_wait_ns(schedstat: &str) -> Option<u64> {
    let mut numbers = schedstat.split_ascii_whitespace().map(|n| n.parse::<u64>().ok());
    let (ran, waited) = (numbers.next()??, numbers.next()??);
    (ran > 0).then_some(waited)
}

/// Voluntary and involuntary switches of a thread: two lines of its `status`.
pub fn switches(status: &str) -> (Option<u64>, Option<u64>) {
    let count = |name: &str| {
        let mut values = status.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.next()?.trim().parse().ok()
    };
    (count("voluntary_ctxt_switches"), count("nonvoluntary_ctxt_switches"))
}

/// Minor and major faults of a thread: the 10th and 12th field of its `stat`, counted from behind the name, which may hold
/// spaces and parentheses.
pub fn faults(stat: &str) -> (Option<u64>, Option<u64>) {
    let Some((_, fields)) = stat.rsplit_once(')') else { return (None, None) };
    let field = |number: usize| fields.split_ascii_whitespace().nth(number - 3)?.parse().ok();
    (field(10), field(12))
}

/// What `/proc/interrupts` counts for one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interrupts {
    /// Local timer.
    pub timer: Option<u64>,
    /// Numbered interrupts, which are devices'.
    pub device: Option<u64>,
    /// TLB shootdowns.
    pub tlb: Option<u64>,
    /// Rescheduling and function calls, most TLB shootdowns among the latter.
    pub ipis: Option<u64>,
}

/// The column of `cpu`. The header names the columns: a CPU that is offline has none.
pub fn interrupts(text: &str, cpu: usize) -> Interrupts {
    let (mut timer, mut device, mut tlb, mut ipis) = (None, None, None, None);
    let (mut lines, name) = (text.lines(), format!("CPU{cpu}"));
    let header = lines.next().unwrap_or_default();
    let Some(column) = header.split_ascii_whitespace().position(|column| column == name) else {
        return Interrupts::default();
    };
    for (label, counts) in lines.filter_map(|line| line.split_once(':')) {
        let sum = match label.trim() {
            "LOC" => &mut timer,
            "TLB" => &mut tlb,
            "RES" | "CAL" => &mut ipis,
            number if number.parse::<u32>().is_ok() => &mut device,
            _ => continue,
        };
        let count = counts.split_ascii_whitespace().nth(column).and_then(|count| count.parse::<u64>().ok());
        // One row that cannot be read spoils its sum.
        let before: Option<u64> = sum.unwrap_or(Some(0));
        *sum = Some(before.zip(count).and_then(|(sum, count)| sum.checked_add(count)));
    }
    Interrupts { timer: timer.flatten(), device: device.flatten(), tlb: tlb.flatten(), ipis: ipis.flatten() }
}

/// Time the hypervisor gave `cpu` to others, ms: the eighth number of its line in `/proc/stat`, which comes in `hz` to the second.
pub fn steal_ms(stat: &str, cpu: usize, hz: u64) -> Option<u64> {
    let name = format!("cpu{cpu}");
    let mut lines = stat.lines().map(str::split_ascii_whitespace);
    let mut numbers = lines.find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
    let steal: u64 = numbers.nth(7)?.parse().ok()?;
    steal.checked_mul(1000)?.checked_div(hz)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat() {
        assert_eq!(runqueue_wait_ns("95957 2932433 2\n"), Some(2_932_433));
        for text in ["0 0 0\n", "", "1", "1 -2 3", "x 2 3", "95957 99999999999999999999 2"] {
            assert_eq!(runqueue_wait_ns(text), None, "{text:?}");
        }
    }

    #[test]
    fn status() {
        let text = "Name:\thot-main\nThreads:\t3\nvoluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(switches(text), (Some(17), Some(2)));
        assert_eq!(switches("voluntary_ctxt_switches:\tmany\n"), (None, None));
        assert_eq!(switches("nonvoluntary_ctxt_switches:\t4\n"), (None, Some(4)));
    }

    #[test]
    fn stat_with_any_name() {
        for name in ["hot-main", "a b", "a) R 1 (b", ")))"] {
            let text = format!("207 ({name}) R 1 2 3 0 -1 4194304 99 5 7 6 0 0 0 0 20 0 1 0 162002 3133440 413");
            assert_eq!(faults(&text), (Some(99), Some(7)), "{name}");
        }
        assert_eq!(faults("207 hot R 1"), (None, None));
        assert_eq!(faults("207 (hot) R 1 2 3 0 -1 4194304 99"), (Some(99), None));
    }

    #[test]
    fn interrupts_by_the_header_of_hot_plugged_cpus() {
        let text = "           CPU0       CPU2       CPU3       \n\
                    24:          1          20        300  IO-APIC   5-edge      ACPI:Ged\n\
                    25:          2          30        400  IO-APIC   6-edge      two words\n\
                    NMI:          9          9          9   Non-maskable interrupts\n\
                    LOC:     274871     279417          5   Local timer interrupts\n\
                    RES:          1          2          3   Rescheduling interrupts\n\
                    CAL:         10         20         30   Function call interrupts\n\
                    TLB:          7          8          9   TLB shootdowns\n\
                    ERR:          0\n";
        let of = |timer, device, tlb, ipis| Interrupts {
            timer: Some(timer),
            device: Some(device),
            tlb: Some(tlb),
            ipis: Some(ipis),
        };
        assert_eq!(interrupts(text, 0), of(274_871, 3, 7, 11));
        assert_eq!(interrupts(text, 2), of(279_417, 50, 8, 22));
        assert_eq!(interrupts(text, 3), of(5, 700, 9, 33));
        assert_eq!(interrupts(text, 1), Interrupts::default(), "CPU 1 is offline");
        assert_eq!(interrupts("", 0), Interrupts::default());
    }

    #[test]
    fn a_row_that_cannot_be_read_is_no_good_news() {
        let text = "  CPU0 CPU1\n 1: 5 6 a\n 2: 7\nLOC: x y\nRES: 4 4 r\nCAL: 3\n";
        assert_eq!(interrupts(text, 1), Interrupts::default());
        assert_eq!(
            interrupts(text, 0),
            Interrupts { device: Some(12), ipis: Some(7), ..Interrupts::default() },
            "LOC is garbage, TLB is missing"
        );
    }

    #[test]
    fn steal() {
        let text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 1 1 1 1 1 1 1 3 0 0\ncpu10 1 1 1 1 1 1 1 50 0 0\nintr 5\n";
        assert_eq!((steal_ms(text, 1, 100), steal_ms(text, 10, 100)), (Some(30), Some(500)));
        assert_eq!((steal_ms(text, 0, 100), steal_ms(text, 1, 0), steal_ms("cpu0 1 2", 0, 100)), (None, None, None));
    }

    #[test]
    fn no_text_panics() {
        for text in ["", "\n", ":", "(", ")", "CPU0", "CPU0\n:\n", "cpu0", "cpu0 \u{fffd}", "\u{0}"] {
            let _ = (runqueue_wait_ns(text), switches(text), faults(text), interrupts(text, 0), steal_ms(text, 0, 100));
        }
    }
}
