/* A library that looks like ONNX Runtime VERSION from outside and serves no API. */
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
