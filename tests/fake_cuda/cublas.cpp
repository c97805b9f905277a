// A libcublas.so without a GPU: what the CUDA backend uses of cuBLAS, as plain loops on the streams of the fake driver.
//
// Matrices are column by column, as cuBLAS has them. In TF32 mode factors lose 13 bits of their mantissas, as on tensor
// cores.
#include <cstdint>
#include <cstring>
#include <dlfcn.h>
#include <functional>

namespace {

enum { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID = 7 };
typedef void (*Push)(void* stream, void (*run)(void*), void* data);

struct Handle {
    Push push;
    void* stream;
    bool workspace, tf32;
};

// To the nearest number with 10 bits of mantissa.
float rounded(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0xfffu + (bits >> 13 & 1)) & ~0x1fffu;
    memcpy(&x, &bits, 4);
    return x;
}

} // namespace

#define API extern "C" __attribute__((visibility("default"))) int

API cublasGetProperty(int property, int* value) {
    *value = property == 0 ? 13 : 0;
    return SUCCESS;
}
API cublasCreate_v2(void** handle) {
    void* driver = dlopen("libcuda.so", RTLD_NOW | RTLD_NOLOAD);
    Push push = driver ? (Push)dlsym(driver, "fake_cuda_push") : nullptr;
    if (!push) return NOT_INITIALIZED;
    *handle = new Handle{push, nullptr, false, false};
    return SUCCESS;
}
API cublasDestroy_v2(void* handle) {
    delete (Handle*)handle;
    return SUCCESS;
}
API cublasSetStream_v2(void* handle, void* stream) {
    ((Handle*)handle)->stream = stream;
    // As cuBLAS does it.
    ((Handle*)handle)->workspace = false;
    return SUCCESS;
}
API cublasSetWorkspace_v2(void* handle, void* memory, size_t bytes) {
    ((Handle*)handle)->workspace = memory && bytes > 0 && (uintptr_t)memory % 256 == 0;
    return ((Handle*)handle)->workspace ? SUCCESS : INVALID;
}
API cublasSetMathMode(void* handle, int mode) {
    ((Handle*)handle)->tf32 = mode == 3;
    return mode == 0 || mode == 3 ? SUCCESS : INVALID;
}
API cublasSgemm_v2(void* handle, int transa, int transb, int m, int n, int k, const float* alpha, const float* a, int lda,
                   const float* b, int ldb, const float* beta, float* c, int ldc) {
    Handle h = *(Handle*)handle;
    // Without a workspace of the caller's, results need not repeat.
    if (!h.workspace || lda < (transa ? k : m) || ldb < (transb ? n : k) || ldc < m || lda < 1 || ldb < 1) return INVALID;
    float one = *alpha, old = *beta;
    auto* work = new std::function<void()>([=] {
        for (long j = 0; j < n; j++)
            for (long i = 0; i < m; i++) {
                float sum = 0;
                for (long l = 0; l < k; l++) {
                    float x = transa ? a[l + i * lda] : a[i + l * lda];
                    float y = transb ? b[j + l * ldb] : b[l + j * ldb];
                    sum += h.tf32 ? rounded(x) * rounded(y) : x * y;
                }
                // What is not asked for is not read.
                float& out = c[i + j * ldc];
                out = old == 0 ? one * sum : one * sum + old * out;
            }
    });
    auto run = [](void* data) {
        auto* work = (std::function<void()>*)data;
        (*work)();
        delete work;
    };
    h.push(h.stream, run, work);
    return SUCCESS;
}
