/* Starts ONNX Runtime as any program would, and stays for some seconds: what a library with telemetry does by itself. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct api_base {
    const void *const *(*get_api)(unsigned int version);
    const char *(*get_version)(void);
};
/* The fourth function of the table, in every version. */
typedef void *create_env(int level, const char *name, void **env);

int main(int argc, char **argv) {
    void *library = argc == 3 ? dlopen(argv[1], RTLD_NOW) : 0;
    const struct api_base *(*entry)(void) = library ? (const struct api_base *(*)(void))dlsym(library, "OrtGetApiBase") : 0;
    if (!entry) {
        return 3;
    }
    void *env = 0;
    if (((create_env *)entry()->get_api(31)[3])(2, "control", &env)) {
        return 4;
    }
    puts("started");
    fflush(stdout);
    sleep((unsigned)atoi(argv[2]));
    /* Not to wait for what it started. */
    _exit(0);
}
