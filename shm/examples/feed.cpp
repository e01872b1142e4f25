/// A feed handler: publishes the market data records of a .dbn file into a lane's tick ring, at a pace of your choice.
///
///   feed es.dbn --lane es --rate x20
///
/// All that a real feed handler needs is the ring and `ring.publish(record)`: it publishes each record as it decodes it
/// and never waits for a reader. --lossless is for replays and tests: it keeps the feed back by what the sidecar read.
#include "dbn_file.hpp"

#include <pillion/shm.hpp>

#include <chrono>
#include <csignal>
#include <optional>
#include <set>
#include <thread>

namespace {

constexpr const char* usage = R"(usage: feed FILE.dbn --lane NAME [options]
  FILE.dbn     DBN of version 1 to 3, not compressed; its mbo, mbp-1, mbp-10, trades and status records are published
  --lane NAME  the lane whose tick ring to make
  --rate RATE  N/s, xN (N times the recording's own speed), realtime or max; default realtime. A snapshot is not paced
  --lossless   never be more than half a ring ahead of the lane's sidecar; waits 10 s for one to come
  --clear      first publish a clear (R) of each instrument of an mbo file that begins with neither a clear nor a snapshot,
               though it holds all orders there are: without one a sidecar trusts no book before a clear or snapshot comes
  --linger     keep the ring alive after the last record until interrupted
  --slots N    slots of the ring, a power of two; default 65536
  --dir DIR    where the regions stand; default /dev/shm
)";

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::this_thread::sleep_for;

volatile std::sig_atomic_t interrupted = 0;

/// When records are due. Neither number set: at once.
struct Rate {
    double speed = 0;      ///< Times the recording's own speed.
    double per_second = 0; ///< Records a second.

    [[nodiscard]] static Rate read(const Args& args, const std::string& text) {
        if (text == "max" || text == "realtime") {
            return {text == "max" ? 0.0 : 1.0, 0.0};
        }
        const bool times = text.starts_with("x");
        if (!times && !text.ends_with("/s")) {
            args.refuse("\"" + text + "\" is no rate: write max, realtime, xN (x20) or N/s (50000/s)");
        }
        const double n = args.to_number("--rate", times ? text.substr(1) : text.substr(0, text.size() - 2));
        if (n <= 0) {
            args.refuse("--rate " + text + " would never end");
        }
        return times ? Rate{n, 0} : Rate{0, n};
    }

    /// ns after the first live record, for the live record number `live` that happened `event_ns` after it.
    [[nodiscard]] std::uint64_t offset_ns(std::uint64_t live, std::uint64_t event_ns) const {
        const double ns = speed > 0        ? static_cast<double>(event_ns) / speed
                          : per_second > 0 ? static_cast<double>(live) * 1e9 / per_second
                                           : 0.0;
        return static_cast<std::uint64_t>(std::min(ns, 9e18)); // Any later is never: 285 years.
    }
};

/// A tick ring, and what paces it.
struct Feed {
    pillion::Clock clock;
    pillion::TickWriter ring;
    std::optional<pillion::Control> sidecar; ///< With --lossless: whom to wait for.
    std::uint64_t snapshot = 0;              ///< Records of a snapshot published.
    std::uint64_t latest_ns = 0;             ///< Longest delay of a record behind its due time.
    std::uint64_t refused = 0;               ///< Records that the ring has no room for.

    /// What became of a record: one that the ring has no room for is counted, and the feed goes on.
    void send(const std::optional<std::uint64_t>& number, std::size_t bytes) {
        if (!number && refused++ == 0) {
            print("refused    a record of ", bytes, " bytes in a ring for ", ring.record_bytes(), "\n");
        }
    }

    /// Publishes a clear of each instrument that has orders in the file.
    void clear_books(const DbnFile& file) {
        std::set<std::uint32_t> known;
        for (const DbnRecord& record : file.records()) {
            const pillion::RecordHeader header = record.header();
            if (header.rtype == pillion::rtype::mbo && known.insert(header.instrument_id).second) {
                pillion::MboMsg clear{};
                clear.hd = header;
                clear.price = pillion::undef_price;
                clear.flags = pillion::record_flags::last;
                clear.action = 'R';
                clear.side = 'N';
                clear.ts_recv = header.ts_event;
                send(ring.publish(clear), sizeof clear);
            }
        }
    }

    /// Publishes the whole file. The clock starts at the first live record: a snapshot's times may lie hours before.
    void publish(const DbnFile& file, const Rate& rate) {
        std::uint64_t live = 0;
        std::uint64_t start_ns = 0;
        std::uint64_t start_event = 0;
        for (const DbnRecord& record : file.records()) {
            if (sidecar) {
                wait_for_room(ring.capacity() / 2);
            }
            if (record.snapshot()) {
                ++snapshot;
            } else {
                const std::uint64_t event = record.header().ts_event;
                if (live == 0) {
                    start_ns = clock.now_ns();
                    start_event = event;
                }
                wait_until(start_ns + rate.offset_ns(live++, event - std::min(event, start_event)));
            }
            if (interrupted != 0) {
                return;
            }
            send(ring.publish_bytes(record.bytes), record.bytes.size());
        }
    }

    /// Waits until at most `most` records are published and not consumed.
    void wait_for_room(std::uint64_t most) {
        for (std::uint64_t look = 1; interrupted == 0; ++look) {
            const std::uint64_t consumed = sidecar->consumed_of(ring.generation());
            if (ring.published() - std::min(consumed, ring.published()) <= most) {
                return;
            }
            sleep_for(microseconds{50});
            if (look % 256 == 0 && !sidecar->owner_alive()) { // A system call: now and then.
                die("the sidecar that sets the pace is gone; mend: start it, then the feed again");
            }
        }
    }

    /// Sleeps while there is time and spins at the end, so that a record goes out when it is due.
    void wait_until(std::uint64_t due_ns) {
        std::uint64_t now = clock.now_ns();
        latest_ns = std::max(latest_ns, now - std::min(now, due_ns));
        for (; now < due_ns && interrupted == 0; now = clock.now_ns()) {
            if (due_ns - now > 200'000) {
                sleep_for(std::min<nanoseconds>(nanoseconds{due_ns - now - 100'000}, milliseconds{50}));
            }
        }
    }
};

/// The lane's live sidecar, which may still be starting.
pillion::Control find_sidecar(const pillion::Lane& lane, const pillion::Clock& clock) {
    for (int look = 0; look < 500 && interrupted == 0; ++look) {
        auto control = pillion::Control::attach(lane, clock);
        if (control && control->owner_alive()) {
            return std::move(control).value();
        }
        sleep_for(milliseconds{20});
    }
    die("lane " + lane.name() + " has no sidecar to set the pace; mend: start `pillion run`, or drop --lossless", 2);
}

} // namespace

int main(int argc, char** argv) {
    Args args{argc, argv, usage};
    const std::string lane_name = args.text("--lane", "");
    const std::string dir = args.text("--dir", pillion::default_dir);
    const Rate rate = Rate::read(args, args.text("--rate", "realtime"));
    const std::uint64_t slots = args.count("--slots", 65'536, std::uint64_t{1} << 40);
    const bool lossless = args.flag("--lossless");
    const bool linger = args.flag("--linger");
    const bool clear = args.flag("--clear");
    const std::string path = args.next();
    args.finish();
    if (path.empty() || lane_name.empty()) {
        args.refuse(path.empty() ? "no FILE.dbn" : "no --lane");
    }
    std::signal(SIGINT, [](int) { interrupted = 1; });
    std::signal(SIGTERM, [](int) { interrupted = 1; });

    const DbnFile file = DbnFile::load(path);
    print("file       ", path, ": DBN version ", file.version(), " of ", file.dataset(), ", ",
          grouped(file.records().size()), " records, ", grouped(file.others()), " more of types that are left out\n");

    const pillion::Lane lane = must(pillion::Lane::in_dir(dir, lane_name));
    const pillion::Clock clock = must(pillion::Clock::attach_or_create(dir));
    std::optional<pillion::Control> sidecar;
    if (lossless) {
        sidecar.emplace(find_sidecar(lane, clock));
    }
    // Slots of 128 bytes hold all types but MBP-10, which needs 384.
    const std::uint64_t record_bytes = std::max<std::uint64_t>(file.longest(), 112);
    auto ring = must(pillion::TickWriter::create(lane, clock, {.capacity = slots, .record_bytes = record_bytes}));
    print("ring       ", ring.path(), ", generation ", ring.generation(), ": ", grouped(ring.capacity()),
          " slots for records of up to ", ring.record_bytes(), " bytes\n");

    Feed feed{clock, std::move(ring), std::move(sidecar)};
    const std::uint64_t start_ns = clock.now_ns();
    if (clear) {
        feed.clear_books(file);
    }
    const std::uint64_t cleared = feed.ring.published();
    feed.publish(file, rate);
    const double seconds = static_cast<double>(clock.now_ns() - start_ns + 1) / 1e9;
    const std::uint64_t published = feed.ring.published() - cleared;
    print("published  ", grouped(published), " records in ", fixed(seconds, 3), " s, ",
          grouped(static_cast<std::uint64_t>(static_cast<double>(published) / seconds)), " a second; ",
          grouped(feed.snapshot), " of a snapshot, not paced",
          cleared == 0 ? "" : "; " + grouped(cleared) + " clear records before them", "\n");
    if (feed.refused > 0) {
        print("refused    ", grouped(feed.refused), " records too long for the ring\n");
    }
    if (rate.speed > 0 || rate.per_second > 0) {
        print("pace       at most ", fixed(static_cast<double>(feed.latest_ns) / 1e6, 3), " ms behind it\n");
    }
    if (feed.sidecar) {
        feed.wait_for_room(0);
        print("consumed   ", grouped(feed.sidecar->consumed_of(feed.ring.generation())), " by the sidecar, process ",
              feed.sidecar->pid(), ", which has lost ", grouped(feed.sidecar->counters().lost),
              " ticks since it started\n");
    }
    while (linger && interrupted == 0) {
        sleep_for(milliseconds{20});
    }
    return published == file.records().size() ? 0 : 1;
}
