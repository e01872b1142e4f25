/* A CUDA runtime without a GPU: device memory is the heap's, a copy back waits for its stream, and everything is written down. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MOST 256

static struct { char *at; size_t bytes; int host; } blocks[MOST];
static struct { void *to; const void *from; size_t bytes; void *stream; } waiting[MOST];
static void *streams[MOST];
static char log_[1 << 16], failing[64];
static int fail_after, wrong, waiting_n;

EXPORT void fake_fail(const char *call, int after) {
    snprintf(failing, sizeof failing, "%s", call);
    fail_after = after;
}

/* The calls so far, and from now on none. */
EXPORT const char *fake_log(void) {
    static char copy[sizeof log_];
    memcpy(copy, log_, sizeof log_);
    log_[0] = 0;
    return copy;
}

/* Blocks and streams that were not given back, and calls that no correct program makes. */
EXPORT int fake_left(void) {
    int left = 0;
    for (int i = 0; i < MOST; i++) left += (blocks[i].at != 0) + (streams[i] != 0);
    return left;
}

EXPORT int fake_wrong(void) { return wrong; }

static int called(const char *call, long with) {
    size_t used = strlen(log_);
    snprintf(log_ + used, sizeof log_ - used, "%s %ld\n", call, with);
    return strcmp(call, failing) == 0 && fail_after-- <= 0;
}

static int live(void *stream) {
    for (int i = 0; i < MOST; i++) if (streams[i] && streams[i] == stream) return 1;
    return 0;
}

static int inside(const void *at, size_t bytes, int host) {
    for (int i = 0; i < MOST; i++) {
        char *from = blocks[i].at;
        if (from && blocks[i].host == host && from <= (char *)at && (char *)at + bytes <= from + blocks[i].bytes) return 1;
    }
    return 0;
}

static int allocate(void **at, size_t bytes, int host) {
    for (int i = 0; i < MOST; i++) {
        if (blocks[i].at) continue;
        *at = blocks[i].at = malloc(bytes);
        memset(*at, 0xff, bytes);
        blocks[i].bytes = bytes;
        blocks[i].host = host;
        return 0;
    }
    return 2;
}

static int give_back(void *at, int host) {
    for (int i = 0; i < MOST; i++) {
        if (blocks[i].at != at || blocks[i].host != host) continue;
        free(at);
        blocks[i].at = 0;
        return 0;
    }
    wrong++;
    return 1;
}

EXPORT const char *cudaGetErrorString(int code) { return code == 2 ? "out of memory" : "invalid argument"; }

EXPORT int cudaGetDeviceCount(int *count) {
    *count = 2;
    return called("devices", 0) ? 1 : 0;
}

EXPORT int cudaSetDevice(int device) { return called("device", device) || device > 1 ? 1 : 0; }

EXPORT int cudaThreadExchangeStreamCaptureMode(int *mode) {
    int failed = called("mode", *mode);
    *mode = 0;
    return failed;
}

EXPORT int cudaStreamCreateWithFlags(void **stream, unsigned flags) {
    if (called("stream", flags)) return 2;
    for (int i = 0; i < MOST; i++) {
        if (streams[i]) continue;
        *stream = streams[i] = malloc(1);
        return 0;
    }
    return 2;
}

EXPORT int cudaStreamDestroy(void *stream) {
    called("stream-destroy", 0);
    for (int i = 0; i < MOST; i++) {
        if (streams[i] != stream) continue;
        free(stream);
        streams[i] = 0;
        return 0;
    }
    wrong++;
    return 1;
}

EXPORT int cudaHostAlloc(void **at, size_t bytes, unsigned flags) {
    return called("host-alloc", (long)bytes) || flags ? 2 : allocate(at, bytes, 1);
}

EXPORT int cudaFreeHost(void *at) {
    called("free-host", 0);
    return give_back(at, 1);
}

EXPORT int cudaMalloc(void **at, size_t bytes) { return called("malloc", (long)bytes) ? 2 : allocate(at, bytes, 0); }

EXPORT int cudaFree(void *at) {
    called("free", 0);
    return give_back(at, 0);
}

EXPORT int cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, void *stream) {
    if (called(kind == 1 ? "upload" : "download", (long)bytes)) return 1;
    if (!live(stream) || !inside(to, bytes, kind == 2) || !inside(from, bytes, kind == 1)) {
        wrong++;
        return 1;
    }
    if (kind == 1) {
        memcpy(to, from, bytes);
        return 0;
    }
    waiting[waiting_n].to = to;
    waiting[waiting_n].from = from;
    waiting[waiting_n].bytes = bytes;
    waiting[waiting_n++].stream = stream;
    return 0;
}

EXPORT int cudaStreamSynchronize(void *stream) {
    int failed = called("synchronize", 0);
    if (!live(stream)) wrong++;
    for (int i = 0; i < waiting_n; i++) memcpy(waiting[i].to, waiting[i].from, waiting[i].bytes);
    waiting_n = 0;
    return failed;
}
