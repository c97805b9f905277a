// Runs CUDA kernels on a CPU, for tests: `common.cuh` includes this where SMORE_EMULATED is defined.
//
// Every thread of a block is a fiber with a stack of its own; a fiber runs until it meets a barrier or a
// warp primitive, then the next one runs. Blocks run one after the other, forward or backward, and the fibers
// of each start in another order, so that a missing barrier shows. Where no fiber can go on, the launch ends
// with a message. Shared memory is `static`; memory ordering between threads and blocks is not modelled.
#pragma once
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict
#define __shared__ static thread_local

struct dim3 {
    unsigned x, y, z;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

// Arithmetic that is never contracted (build with -ffp-contract=off).
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline unsigned __float_as_uint(float f) {
    unsigned u;
    memcpy(&u, &f, 4);
    return u;
}
inline float __uint_as_float(unsigned u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}
template <class T> inline T __ldg(const T* p) { return *p; }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }

namespace simt {

struct Fiber {
    void* stack_pointer;
    dim3 index;
    bool done;
};
struct Warp {
    unsigned members = 0, arrived = 0, exited = 0, generation = 0;
    uint64_t values[2][32];
};
struct Block {
    const char* kernel = "";
    std::vector<Fiber> fibers;
    // Where the fiber of each thread is.
    std::vector<unsigned> places;
    std::vector<Warp> warps;
    std::vector<char> stacks;
    unsigned current = 0, live = 0, arrived = 0, generation = 0;
    // Whether a warp runs ahead of the others as far as it can, or all keep pace.
    bool ahead = false;
    // Switches since a fiber last got past a barrier or ended.
    unsigned idle = 0;
    void* main = nullptr;
    void (*body)(void*) = nullptr;
    void* arguments = nullptr;
};
inline thread_local Block block;
constexpr size_t STACK = 64 * 1024;

#if defined(__x86_64__)
// Saves the registers that a callee owns and the stack pointer; takes another stack up where it left off.
extern "C" void simt_switch(void** save, void* to);
asm(R"(
.text
.weak simt_switch
.type simt_switch,@function
simt_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp,(%rdi)
    movq %rsi,%rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size simt_switch,.-simt_switch
)");
#else
#error "the kernel emulator switches stacks in x86-64 assembly only"
#endif

[[noreturn]] inline void fail(const char* what) {
    fprintf(stderr, "kernel %s, block (%u, %u), thread %u: %s\n", block.kernel, blockIdx.x, blockIdx.y,
            threadIdx.x, what);
    abort();
}

inline unsigned following(unsigned fiber) { return fiber + 1 == block.fibers.size() ? 0 : fiber + 1; }

/// Lets another fiber run: `next`, or the first after it that has not ended.
__attribute__((noinline)) inline void yield(unsigned next) {
    Block& b = block;
    unsigned me = b.current;
    while (b.fibers[next].done) next = following(next);
    if (b.idle++ > 4 * b.fibers.size() + 64) fail("no thread can go on: a barrier that not all threads reach");
    if (next == me) return;
    b.current = next;
    threadIdx = b.fibers[next].index;
    simt_switch(&b.fibers[me].stack_pointer, b.fibers[next].stack_pointer);
}

inline void release_barrier() {
    if (block.arrived > 0 && block.arrived >= block.live) {
        block.arrived = 0;
        block.generation++;
        block.idle = 0;
    }
}

inline void entry() {
    block.body(block.arguments);
    Block& b = block;
    b.fibers[b.current].done = true;
    b.live--;
    b.idle = 0;
    b.warps[threadIdx.x / 32].exited |= 1u << threadIdx.x % 32;
    release_barrier();
    void* unused;
    if (b.live == 0) simt_switch(&unused, b.main);
    yield(following(b.current));
    __builtin_trap();
}

inline void run_block(unsigned threads, unsigned seed) {
    Block& b = block;
    b.fibers.resize(threads);
    b.places.resize(threads);
    b.warps.assign((threads + 31) / 32, Warp{});
    if (b.stacks.size() < threads * STACK) b.stacks.resize(threads * STACK);
    b.live = threads;
    b.arrived = b.current = b.idle = 0;
    b.ahead = seed & 1;
    for (unsigned i = 0; i < threads; i++) b.fibers[i] = {nullptr, {i, 0, 0}, false};
    // A fixed shuffle a block.
    for (unsigned i = threads; i > 1; i--) {
        seed = seed * 1664525u + 1013904223u;
        std::swap(b.fibers[i - 1].index, b.fibers[(seed >> 8) % i].index);
    }
    for (unsigned i = 0; i < threads; i++) {
        unsigned thread = b.fibers[i].index.x;
        b.places[thread] = i;
        b.warps[thread / 32].members |= 1u << thread % 32;
        uintptr_t top = (uintptr_t)&b.stacks[i * STACK + STACK - 1] & ~(uintptr_t)63;
        void** stack = (void**)top;
        *--stack = nullptr;
        *--stack = (void*)entry;
        for (int k = 0; k < 6; k++) *--stack = nullptr;
        b.fibers[i].stack_pointer = stack;
    }
    threadIdx = b.fibers[0].index;
    simt_switch(&b.main, b.fibers[0].stack_pointer);
}

/// Waits for the lanes of `mask`; returns the values that they brought. Two sets of slots take turns, so
/// that a fast lane does not overwrite what a slow one still reads.
inline uint64_t* exchange(unsigned mask, uint64_t value) {
    unsigned lane = threadIdx.x % 32;
    Warp& w = block.warps[threadIdx.x / 32];
    unsigned generation = w.generation, needed = mask & w.members;
    if (w.exited & needed) fail("a warp primitive waits for a thread that has ended");
    uint64_t* values = w.values[generation & 1];
    values[lane] = value;
    w.arrived |= 1u << lane;
    if ((w.arrived & needed) == needed) {
        w.arrived &= ~needed;
        w.generation++;
        block.idle = 0;
    } else {
        while (w.generation == generation) {
            unsigned missing = threadIdx.x - lane + __builtin_ctz(needed & ~w.arrived);
            yield(block.ahead ? block.places[missing] : following(block.current));
        }
    }
    return values;
}

template <class T> inline T shuffle(unsigned mask, T value, unsigned source) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    uint64_t* values = exchange(mask, bits);
    T result;
    memcpy(&result, &values[source % 32], sizeof result);
    return result;
}

/// A kernel that can be launched by its name.
struct Kernel {
    unsigned max_threads;
    std::vector<size_t> sizes;
    void (*body)(void*);
};
inline std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

template <auto F> struct Entry;
template <class... P, void (*F)(P...)> struct Entry<F> {
    template <size_t... I> static void call(void** arguments, std::index_sequence<I...>) {
        F(*(P*)arguments[I]...);
    }
    static void body(void* arguments) { call((void**)arguments, std::index_sequence_for<P...>()); }
    Entry(const char* name, unsigned max_threads) { kernels()[name] = {max_threads, {sizeof(P)...}, body}; }
};

} // namespace simt

#define KERNEL(threads, name, params) \
    void name params;                 \
    static simt::Entry<&name> name##_entry(#name, threads); \
    void name params

inline void __syncthreads() {
    simt::Block& b = simt::block;
    unsigned generation = b.generation;
    b.arrived++;
    simt::release_barrier();
    while (b.generation == generation) simt::yield(simt::following(b.current));
}
inline void __syncwarp(unsigned mask = 0xffffffffu) { simt::exchange(mask, 0); }
template <class T> inline T __shfl_xor_sync(unsigned mask, T value, int lanes) {
    return simt::shuffle(mask, value, threadIdx.x % 32 ^ lanes);
}
template <class T> inline T __shfl_sync(unsigned mask, T value, int source) {
    return simt::shuffle(mask, value, source);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    unsigned members = simt::block.warps[threadIdx.x / 32].members;
    uint64_t* values = simt::exchange(mask, predicate != 0);
    unsigned bits = 0;
    for (unsigned lane = 0; lane < 32; lane++)
        if ((mask & members) >> lane & 1) bits |= (unsigned)values[lane] << lane;
    return bits;
}

/// Runs a kernel. 0, or: 1 no such kernel, 2 other number or sizes of arguments, 3 too many threads.
extern "C" inline __attribute__((used, visibility("default"))) int smore_launch(const char* name, const unsigned grid[3], unsigned threads,
                                                         void** arguments, const size_t* sizes, size_t count) {
    auto found = simt::kernels().find(name);
    if (found == simt::kernels().end()) return 1;
    const simt::Kernel& kernel = found->second;
    if (kernel.sizes != std::vector<size_t>(sizes, sizes + count)) return 2;
    if (threads > kernel.max_threads) return 3;
    simt::block.kernel = found->first.c_str();
    simt::block.body = kernel.body;
    simt::block.arguments = arguments;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {threads, 1, 1};
    // No result may depend on the order of threads and blocks: it is another one in every launch.
    static thread_local unsigned launches = 0, seed = 0;
    bool backwards = ++launches * 2654435761u >> 31;
    uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2];
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t at = backwards ? blocks - 1 - i : i;
        blockIdx = {unsigned(at % grid[0]), unsigned(at / grid[0] % grid[1]), unsigned(at / grid[0] / grid[1])};
        simt::run_block(threads, ++seed);
    }
    return 0;
}
