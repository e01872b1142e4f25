/* A library that looks like ONNX Runtime VERSION from outside and serves no API. Loaded, it makes the file MARK, if any. */
#ifdef MARK
#include <fcntl.h>
#include <unistd.h>

__attribute__((constructor)) static void mark(void) { close(open(MARK, O_CREAT | O_WRONLY, 0600)); }
#endif

struct api_base {
    const void *(*get_api)(unsigned int version);
    const char *(*get_version)(void);
};

static const void *get_api(unsigned int version) {
    (void)version;
    return 0;
}

static const char *get_version(void) { return VERSION; }

static const struct api_base base = {get_api, get_version};

const struct api_base *ENTRY(void) { return &base; }
