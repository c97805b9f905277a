// A libnvrtc.so that compiles to a word which the fake driver knows. FAKE_NVRTC_LOG names a file to which each
// compilation adds a line.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#define API extern "C" __attribute__((visibility("default"))) int

static const char CODE[] = "fake machine code";

API nvrtcVersion(int* major, int* minor) {
    *major = 13;
    *minor = 0;
    return 0;
}
API nvrtcGetNumSupportedArchs(int* count) {
    *count = 2;
    return 0;
}
API nvrtcGetSupportedArchs(int* architectures) {
    architectures[0] = 75;
    architectures[1] = 90;
    return 0;
}
API nvrtcCreateProgram(void** program, const char* source, const char*, int, const char* const*, const char* const*) {
    *program = new std::string(source);
    return 0;
}
API nvrtcCompileProgram(void*, int count, const char* const* options) {
    if (const char* path = getenv("FAKE_NVRTC_LOG")) {
        FILE* log = fopen(path, "a");
        for (int i = 0; i < count; i++) fprintf(log, "%s ", options[i]);
        fprintf(log, "\n");
        fclose(log);
    }
    return 0;
}
static int size(size_t* bytes) {
    *bytes = sizeof CODE;
    return 0;
}
static int get(char* to) {
    memcpy(to, CODE, sizeof CODE);
    return 0;
}
API nvrtcGetProgramLogSize(void*, size_t* bytes) { return size(bytes); }
API nvrtcGetProgramLog(void*, char* to) { return get(to); }
API nvrtcGetCUBINSize(void*, size_t* bytes) { return size(bytes); }
API nvrtcGetCUBIN(void*, char* to) { return get(to); }
API nvrtcGetPTXSize(void*, size_t* bytes) { return size(bytes); }
API nvrtcGetPTX(void*, char* to) { return get(to); }
API nvrtcDestroyProgram(void** program) {
    delete (std::string*)*program;
    return 0;
}
