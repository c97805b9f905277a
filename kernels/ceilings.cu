// How many instructions a second the GPU gets through: what the floors of the score kernels are computed from.
// Launcher: src/backend/cuda/ceilings.rs, with step 1 and bits 7 for all three.
#include "common.cuh"

// Eight chains a thread: enough to hide the latency of each instruction. They start from different numbers, so that
// the compiler does not make them one, and their sum is stored under a condition that never holds.

/// One LOP3: the bits of `a` where `x` has ones, of `b` where it has zeros.
__device__ __forceinline__ u32 choose(u32 x, u32 a, u32 b) { return (x & a) | (~x & b); }

/// FP32 additions: 8 a thread and round.
KERNEL(256, ceiling_fp32, (u32 rounds, float step, u32 bits, MatMut out)) {
    float chains[8];
#pragma unroll
    for (int c = 0; c < 8; c++) chains[c] = step * c;
#pragma unroll 8
    for (u32 i = 0; i < rounds; i++)
#pragma unroll
        for (int c = 0; c < 8; c++) chains[c] = __fadd_rn(chains[c], step);
    float sum = 0.0f;
    for (int c = 0; c < 8; c++) sum += chains[c];
    if (sum == 1234.5f) out.row(0)[0] = sum;
}

/// Bit operations: 8 a thread and round.
KERNEL(256, ceiling_logic, (u32 rounds, float step, u32 bits, MatMut out)) {
    u32 chains[8];
#pragma unroll
    for (int c = 0; c < 8; c++) chains[c] = bits * (c + threadIdx.x);
#pragma unroll 8
    for (u32 i = 0; i < rounds; i++)
#pragma unroll
        for (int c = 0; c < 8; c++) chains[c] = choose(chains[c], bits, i);
    u32 sum = 0;
    for (int c = 0; c < 8; c++) sum += chains[c];
    if (sum == 0x12345678u) out.row(0)[0] = 1.0f;
}

/// Both: 4 additions and 4 bit operations a thread and round.
KERNEL(256, ceiling_mixed, (u32 rounds, float step, u32 bits, MatMut out)) {
    float chains[4];
    u32 others[4];
#pragma unroll
    for (int c = 0; c < 4; c++) {
        chains[c] = step * c;
        others[c] = bits * (c + threadIdx.x);
    }
#pragma unroll 8
    for (u32 i = 0; i < rounds; i++)
#pragma unroll
        for (int c = 0; c < 4; c++) {
            chains[c] = __fadd_rn(chains[c], step);
            others[c] = choose(others[c], bits, i);
        }
    float sum = 0.0f;
    for (int c = 0; c < 4; c++) sum += chains[c] + (float)others[c];
    if (sum == 1234.5f) out.row(0)[0] = sum;
}
