// Writer and readers of a ring against a naive twin: laps, batches, visits, starts, scribbled slots.
#include "check.hpp"

#include <deque>

using namespace pillion;
using namespace test;

namespace {

/// What a ring of `capacity` must say: a deque that drops its oldest record, and readers that count what they missed.
struct Twin {
    std::uint64_t capacity;
    std::deque<std::uint64_t> kept{}; // Numbers of the records still there.
    std::uint64_t published = 0;

    void publish() {
        kept.push_back(published++);
        if (kept.size() > capacity) {
            kept.pop_front();
        }
    }
    std::uint64_t oldest() const { return kept.empty() ? published : kept.front(); }
};

struct TwinReader {
    std::uint64_t cursor = 0;
    std::uint64_t lost = 0;
    bool lapped = false;

    PollStatus poll(const Twin& twin) {
        if (cursor == twin.published) {
            return PollStatus::empty;
        }
        if (cursor >= twin.oldest()) {
            ++cursor;
            lapped = false;
            return PollStatus::record;
        }
        // Lapped twice in a row: give up half of the ring.
        const std::uint64_t keep = lapped ? std::max<std::uint64_t>(twin.capacity / 2, 1) : twin.capacity;
        const std::uint64_t resume =
            std::max(twin.oldest(), twin.published > keep ? twin.published - keep : std::uint64_t{0});
        lost += resume - cursor;
        cursor = resume;
        lapped = true;
        return PollStatus::lost;
    }
};

void check_tick(const Tick& tick, std::uint64_t n) {
    CHECK_EQ(tick.ring_seq, n);
    CHECK_EQ(tick.stamp_ns, 1'000 + n);
    const MboMsg* mbo = tick.as<MboMsg>();
    CHECK(mbo != nullptr && same_bytes(*mbo, order(n)));
    CHECK(tick.as<TradeMsg>() == nullptr && tick.as<Mbp10Msg>() == nullptr);
}

/// Polls, batches and visits take the same records; all three readers agree with the twin after every step.
void ring_is_its_naive_twin(std::uint64_t capacity, std::uint64_t seed) {
    const Place place;
    TickWriter writer = must(TickWriter::create(place.lane, place.clock, {capacity, 112, {}}));
    TickReader poller = must(TickReader::attach(place.lane, place.clock, Start::first));
    TickReader batcher = must(TickReader::attach(place.lane, place.clock, Start::first));
    TickReader visitor = must(TickReader::attach(place.lane, place.clock, Start::first));
    Twin twin{capacity};
    TwinReader poll_twin;
    TwinReader batch_twin;
    TwinReader visit_twin;
    std::vector<Tick> ticks(5);
    Tick tick;
    Random random{seed};
    const auto settle = [&](TwinReader& reader, const Batch& batch, std::size_t max, auto&& record) {
        if (batch.lost != 0) {
            CHECK_EQ(batch.records, 0U);
            CHECK(reader.poll(twin) == PollStatus::lost);
            CHECK_EQ(batch.first, reader.cursor);
            return;
        }
        CHECK_EQ(batch.first, reader.cursor);
        for (std::size_t i = 0; i < batch.records; ++i) {
            record(i, reader.cursor);
            CHECK(reader.poll(twin) == PollStatus::record);
        }
        CHECK(batch.records == max || reader.cursor == twin.published);
    };
    for (int step = 0; step < 4'000; ++step) {
        switch (random.below(6)) {
        case 0: {
            const std::uint64_t count = random.below(2 * capacity + 2);
            for (std::uint64_t i = 0; i < count; ++i) {
                CHECK(writer.publish_at(order(twin.published), 1'000 + twin.published) == twin.published);
                twin.publish();
            }
            CHECK_EQ(writer.published(), twin.published);
            break;
        }
        case 1:
        case 2: {
            const PollStatus said = poller.poll(tick);
            const std::uint64_t before = poll_twin.lost;
            CHECK_EQ(said, poll_twin.poll(twin));
            if (said == PollStatus::record) {
                check_tick(tick, poll_twin.cursor - 1);
            } else if (said == PollStatus::lost) {
                CHECK_EQ(poller.last_lost(), poll_twin.lost - before);
            }
            break;
        }
        case 3:
        case 4: {
            const std::size_t max = random.below(ticks.size() + 1);
            const Batch batch = batcher.poll_batch(std::span{ticks}.first(max));
            settle(batch_twin, batch, max, [&](std::size_t i, std::uint64_t n) { check_tick(ticks[i], n); });
            break;
        }
        default: {
            const std::size_t max = random.below(7);
            std::vector<std::uint64_t> seen;
            const Batch batch = visitor.visit(
                [&](const Tick& one) {
                    check_tick(one, one.ring_seq);
                    seen.push_back(one.ring_seq);
                },
                max);
            CHECK_EQ(seen.size(), batch.records);
            settle(visit_twin, batch, max, [&](std::size_t i, std::uint64_t n) { CHECK_EQ(seen[i], n); });
        }
        }
        CHECK(poller.cursor() == poll_twin.cursor && poller.lost() == poll_twin.lost);
        CHECK(batcher.cursor() == batch_twin.cursor && batcher.lost() == batch_twin.lost);
        CHECK(visitor.cursor() == visit_twin.cursor && visitor.lost() == visit_twin.lost);
        CHECK(poller.check() && batcher.check() && visitor.check());
    }
    CHECK(poll_twin.lost > 0 && batch_twin.lost > 0 && visit_twin.lost > 0);
}

void readers_start_where_they_ask() {
    const Place place;
    TickWriter writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    for (std::uint64_t n = 0; n < 6; ++n) {
        static_cast<void>(writer.publish_at(order(n), 1'000 + n));
    }
    Tick tick;
    TickReader next = must(TickReader::attach(place.lane, place.clock));
    CHECK(next.poll(tick) == PollStatus::empty && next.cursor() == 6);
    TickReader oldest = must(TickReader::attach(place.lane, place.clock, Start::oldest));
    CHECK(oldest.poll(tick) == PollStatus::record && oldest.lost() == 0);
    check_tick(tick, 2);
    TickReader first = must(TickReader::attach(place.lane, place.clock, Start::first));
    CHECK(first.poll(tick) == PollStatus::lost && first.last_lost() == 2 && first.cursor() == 2);
    CHECK_EQ(first.skip_to_next(), 4U);
    CHECK(first.lost() == 6 && first.cursor() == 6);
}

/// Records of every type and size, whole and as bytes, in slots for MBP-10.
void every_record_fits_its_slot() {
    const Place place;
    TickWriter writer = must(TickWriter::create(place.lane, place.clock, {8, sizeof(Mbp10Msg), {}}));
    CHECK_EQ(writer.record_bytes(), 368U);
    TickReader reader = must(TickReader::attach(place.lane, place.clock, Start::first));
    Mbp10Msg book{};
    book.hd = {sizeof book / 4, rtype::mbp_10, 1, 2, 3};
    book.levels[9] = {1, 2, 3, 4, 5, 6};
    TradeMsg trade{};
    trade.hd = {sizeof trade / 4, rtype::trade, 1, 2, 3};
    trade.price = -7;
    StatusMsg status{};
    status.hd = {sizeof status / 4, rtype::status, 1, 2, 3};
    status.is_trading = 'Y';
    Mbp1Msg top{};
    top.hd = {sizeof top / 4, rtype::mbp_1, 1, 2, 3};
    top.levels[0].ask_ct = 9;
    static_cast<void>(writer.publish_at(book, 1));
    static_cast<void>(writer.publish_at(trade, 2));
    static_cast<void>(writer.publish_bytes_at(std::as_bytes(std::span{&status, 1}), 3));
    static_cast<void>(writer.publish_at(top, 4));
    Tick tick;
    CHECK(reader.poll(tick) == PollStatus::record && tick.as<Mbp10Msg>() && same_bytes(*tick.as<Mbp10Msg>(), book));
    CHECK(tick.as<Mbp1Msg>() == nullptr && tick.header().rtype == rtype::mbp_10 && tick.words == 46);
    CHECK(reader.poll(tick) == PollStatus::record && tick.as<TradeMsg>() && same_bytes(*tick.as<TradeMsg>(), trade));
    CHECK(reader.poll(tick) == PollStatus::record && tick.as<StatusMsg>() && same_bytes(*tick.as<StatusMsg>(), status));
    Mbp1Msg back;
    std::uint64_t stamp_ns = 0;
    CHECK(reader.poll_as(back, stamp_ns) == PollStatus::record && stamp_ns == 4 && same_bytes(back, top));
    // A length that is none of the type's makes it no record of that type.
    trade.hd.length = 255;
    static_cast<void>(writer.publish_at(trade, 5));
    CHECK(reader.poll(tick) == PollStatus::record && tick.as<TradeMsg>() == nullptr);
    // Bytes that fill no whole word are padded with zeros.
    const unsigned char odd[11] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    static_cast<void>(writer.publish_bytes_at(std::as_bytes(std::span{odd}), 6));
    CHECK(reader.poll(tick) == PollStatus::record);
    CHECK(std::memcmp(tick.data, odd, 11) == 0 && tick.data[11] == std::byte{} && tick.data[15] == std::byte{});
    struct Big {
        unsigned char bytes[512];
    };
    Big big;
    CHECK(reader.poll_as(big, stamp_ns) == PollStatus::too_small);
}

/// A Tick holds the longest market data record. What a wider slot holds beyond that is never cut without a word.
void a_record_longer_than_a_tick_is_told() {
    const Place place;
    struct Big {
        std::uint64_t words[512];
    };
    TickWriter writer = must(TickWriter::create(place.lane, place.clock, {8, sizeof(Big), {}}));
    TickReader reader = must(TickReader::attach(place.lane, place.clock, Start::first));
    const auto publish = [&] {
        Big big{};
        big.words[511] = 7;
        Mbp10Msg book{};
        book.hd = {sizeof book / 4, rtype::mbp_10, 1, 2, 3};
        CHECK(writer.publish(big) && writer.publish(order(1)) && writer.publish(book));
    };
    publish();
    Tick tick;
    CHECK(reader.poll(tick) == PollStatus::truncated && tick.truncated && tick.words == Tick::max_words);
    CHECK(reader.poll(tick) == PollStatus::record && !tick.truncated && same_bytes(*tick.as<MboMsg>(), order(1)));
    CHECK(reader.poll(tick) == PollStatus::record && tick.as<Mbp10Msg>() != nullptr);
    publish();
    Big back;
    std::uint64_t stamp_ns = 0;
    CHECK(reader.poll_as(back, stamp_ns) == PollStatus::record && back.words[511] == 7);
    CHECK(reader.poll(tick) == PollStatus::record && reader.poll(tick) == PollStatus::record);
    publish();
    Tick ticks[4];
    const Batch batch = reader.poll_batch(ticks);
    CHECK(batch.records == 3 && batch.truncated == 1 && ticks[0].truncated && !ticks[1].truncated && !ticks[2].truncated);
    publish();
    std::string seen;
    CHECK_EQ(reader.visit([&](const Tick& one) { seen += one.truncated ? 't' : 'w'; }, 8).truncated, 1U);
    CHECK_EQ(seen, "tww");
    CHECK(std::string{poll_status_name(PollStatus::truncated)} == "truncated" &&
          std::string{poll_status_name(PollStatus::empty)} == "empty");
}

/// A slot or head that no honest writer can have left is flagged; the cursor stays, and it heals when overwritten.
void scribbles_are_flagged_and_heal() {
    const Place place;
    constexpr std::uint64_t body = 512;
    TickWriter writer = must(TickWriter::create(place.lane, place.clock, {4, 112, {}}));
    TickReader reader = must(TickReader::attach(place.lane, place.clock, Start::first));
    Tick tick;
    for (std::uint64_t n = 0; n < 3; ++n) {
        static_cast<void>(writer.publish_at(order(n), 1'000 + n));
    }
    CHECK(reader.poll(tick) == PollStatus::record);
    // Record 1 claims to be 2, 9 (two laps early), or UINT64_MAX.
    for (const std::uint64_t seq : {std::uint64_t{2 * 2 + 2}, std::uint64_t{2 * 9 + 2}, UINT64_MAX, UINT64_MAX - 1}) {
        place.scribble(Kind::ticks, body + 128, seq);
        CHECK_EQ(reader.poll(tick), PollStatus::corrupt);
        const Batch batch = reader.poll_batch(std::span{&tick, 1});
        CHECK(batch.corrupt && batch.records == 0 && batch.lost == 0);
        CHECK(reader.cursor() == 1 && reader.lost() == 0);
    }
    // Too low a number looks like "not yet": only the cold look tells.
    place.scribble(Kind::ticks, body + 128, 0);
    CHECK(reader.poll(tick) == PollStatus::empty && !reader.check());
    // A head in the far future cannot be believed either.
    place.scribble(Kind::ticks, body + 128, 2 * 5 + 2);
    place.scribble(Kind::ticks, layout::header::head, UINT64_MAX);
    CHECK(reader.poll(tick) == PollStatus::corrupt && !reader.check() && reader.skip_to_next() == 0);
    place.scribble(Kind::ticks, layout::header::head, 1'000);
    CHECK(reader.poll(tick) == PollStatus::corrupt && reader.cursor() == 1);
    CHECK_SAYS(refused(TickReader::attach(place.lane, place.clock)), Errc::not_a_region, place.file(Kind::ticks),
               "1000 records", std::to_string(::getpid()));
    // The writer goes on, and all is well once it has been round.
    for (std::uint64_t n = 3; n < 7; ++n) {
        static_cast<void>(writer.publish_at(order(n), 1'000 + n));
    }
    CHECK(reader.poll(tick) == PollStatus::lost && reader.last_lost() == 2 && reader.check());
    CHECK(reader.poll(tick) == PollStatus::record);
    check_tick(tick, 3);
}

/// A record that is overwritten while it is copied is dropped, and counted: the second look sees the writer's mark.
void a_record_overwritten_in_mid_copy_is_dropped() {
    alignas(64) detail::Word words[2 * 8] = {};
    detail::Word head = 0;
    detail::Producer writer{&head, words, 2, 8};
    detail::Consumer reader{&head, words, 2, 8};
    const auto publish = [&](detail::Word value) {
        writer.publish(0, [=](detail::Word* to) { detail::store(to, value); });
    };
    publish(1);
    std::uint64_t stamp_ns = 0;
    std::uint64_t seen = 0;
    detail::Word copied = 0;
    CHECK(!reader.take(stamp_ns, seen, [&](const detail::Word* from) {
        publish(2);
        publish(3);
        copied = detail::load(from);
    }));
    CHECK(copied == 3 && seen == 6 && reader.missed(seen) == PollStatus::lost && reader.last_lost() == 1);
    CHECK(reader.take(stamp_ns, seen, [&](const detail::Word* from) { copied = detail::load(from); }) && copied == 2);
    // In the middle of the write the mark stands there, and nothing is taken.
    writer.publish(0, [&](detail::Word* to) {
        CHECK(detail::load(words + 8) == 7 && detail::load(&head) == 3);
        CHECK(reader.take(stamp_ns, seen, [](const detail::Word*) {}) && reader.cursor() == 3);
        CHECK(!reader.take(stamp_ns, seen, [](const detail::Word*) {}) && reader.missed(seen) == PollStatus::empty);
        detail::store(to, 4);
    });
    CHECK(detail::load(words + 8) == 8 && detail::load(&head) == 4);
}

/// A writer stands, or has died, between a record's commit and the store of its head: a reader may be one ahead of the head.
void a_reader_one_ahead_of_the_head_is_no_contradiction() {
    alignas(64) detail::Word words[4 * 8] = {};
    detail::Word head = 0;
    detail::Producer writer{&head, words, 4, 8};
    detail::Consumer reader{&head, words, 4, 8};
    const auto take = [&reader] {
        std::uint64_t stamp_ns = 0;
        std::uint64_t seen = 0;
        return reader.take(stamp_ns, seen, [](const detail::Word*) {});
    };
    for (detail::Word n = 0; n < 6; ++n) {
        writer.publish(0, [n](detail::Word* to) { detail::store(to, n); });
        CHECK(take());
        detail::store(&head, n);
        CHECK(reader.check() && reader.skip_to_next() == 0);
        // It has read the record, and does not go back to it.
        CHECK(reader.cursor() == n + 1 && !take());
        detail::store(&head, n + 1);
        CHECK(reader.check());
    }
    // One behind, but the slot does not say that the record was committed; two behind; the head that one more makes 0.
    detail::store(&head, 5);
    detail::store(words + 8, 2 * 5 + 1);
    CHECK(!reader.check());
    detail::store(words + 8, 2 * 5 + 2);
    detail::store(&head, 4);
    CHECK(!reader.check());
    // From a cursor that was led astray it goes back.
    CHECK(reader.skip_to_next() == 0 && reader.cursor() == 4 && reader.lost() == 0);
    detail::store(&head, UINT64_MAX);
    CHECK(!reader.check() && reader.skip_to_next() == 0 && reader.cursor() == 4);
}

/// A record too long for its ring is refused: a feed handler lives on, and nothing of it stands in the ring.
void a_record_too_long_is_refused() {
    const Place place;
    TickWriter writer = must(TickWriter::create(place.lane, place.clock, {4, 48, {}}));
    TickReader reader = must(TickReader::attach(place.lane, place.clock, Start::first));
    CHECK(writer.publish(TradeMsg{}) == 0U && !writer.publish(order(1)) && !writer.publish_at(order(1), 7));
    const std::byte bytes[49] = {};
    CHECK(!writer.publish_bytes(bytes) && !writer.publish_bytes_at(bytes, 7));
    CHECK(writer.publish_bytes(std::span{bytes}.first(48)) == 1U && writer.published() == 2);
    Tick tick;
    CHECK(reader.poll(tick) == PollStatus::record && reader.poll(tick) == PollStatus::record);
    CHECK(reader.poll(tick) == PollStatus::empty && reader.head() == 2);
}

} // namespace

int main() {
    for (const std::uint64_t capacity : {1U, 2U, 4U, 64U}) {
        ring_is_its_naive_twin(capacity, 7 * capacity);
    }
    readers_start_where_they_ask();
    every_record_fits_its_slot();
    scribbles_are_flagged_and_heal();
    a_record_overwritten_in_mid_copy_is_dropped();
    a_reader_one_ahead_of_the_head_is_no_contradiction();
    a_record_longer_than_a_tick_is_told();
    a_record_too_long_is_refused();
    return 0;
}
