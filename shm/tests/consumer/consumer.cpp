// A project of somebody else: one tick there and back, in the directory that it is given.
#include <pillion/shm.hpp>

#include <cstdio>

int main(int argc, char** argv) {
    if (argc != 2) {
        return 2;
    }
    const auto fail = [](const pillion::Error& error) {
        std::fprintf(stderr, "%s\n", error.message.c_str());
        return 1;
    };
    auto lane = pillion::Lane::in_dir(argv[1], "consumer");
    auto clock = pillion::Clock::attach_or_create(argv[1]);
    if (!lane || !clock) {
        return fail(lane ? clock.error() : lane.error());
    }
    auto writer = pillion::TickWriter::create(*lane, *clock);
    if (!writer) {
        return fail(writer.error());
    }
    auto reader = pillion::TickReader::attach(*lane, *clock);
    if (!reader) {
        return fail(reader.error());
    }
    pillion::MboMsg sent{};
    sent.hd = {sizeof sent / 4, pillion::rtype::mbo, 1, 17077, 0};
    sent.order_id = 42;
    static_cast<void>(writer->publish(sent));
    pillion::Tick tick;
    const bool got = reader->poll(tick) == pillion::PollStatus::record && tick.as<pillion::MboMsg>() != nullptr;
    std::printf("order %llu\n", got ? static_cast<unsigned long long>(tick.as<pillion::MboMsg>()->order_id) : 0ULL);
    return writer->unlink() ? 0 : 1;
}
