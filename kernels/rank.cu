// Counts of entities that do better than a query's targets, from the scores of a chunk of entities.
// CPU twin: src/backend/cpu/rank.rs; launcher: src/backend/cuda/rank.rs.
//
// Scores come from the kernels of score.cu: a row per root, chunk by chunk. `rank_settle` makes one row per query
// of them, without the filter's entities; `rank_count` counts.
#include "common.cuh"

namespace rank {

/// The greater of two; NaN only where both are.
__device__ __forceinline__ float best(float a, float b) { return fmaxf(a, b); }
__device__ __forceinline__ float4 best(float4 a, float4 b) {
    return make_float4(best(a.x, b.x), best(a.y, b.y), best(a.z, b.z), best(a.w, b.w));
}

/// Targets that a block counts for: what it reads of a row is compared with all of them.
constexpr u32 TARGETS = 4;

/// `better` of a target that every entity beats, because its score is not a number.
constexpr u32 BEATEN_BY_ALL = 0xffffffffu;

/// Entities that beat a target or equal it.
struct Count {
    u32 better, equal;
    __device__ __forceinline__ void compare(float score, float threshold) {
        better += score > threshold;
        equal += score == threshold;
    }
};

} // namespace rank

/// One row per query: the best of its roots' rows, which follow each other, is written to the first of them; NaN
/// for the entities of the filter and where columns are missing to a group of four. A block per query.
///
/// Rows `roots[q] - roots[0]` and on are those of query `q`; its filter is `filter[bounds[2 q]..bounds[2 q + 1]]`.
KERNEL(256, rank_settle, (MatMut scores, const u32* roots, const u32* bounds, const u32* filter,
                          u32 first_entity)) {
    const u32 q = blockIdx.x, first = roots[q] - roots[0], last = roots[q + 1] - roots[0];
    const u32 fours = scores.cols / 4;
    float* row = scores.row(first);
    for (u32 i = threadIdx.x; last - first > 1 && i < fours; i += 256) {
        float4 top = *four(row, i);
        for (u32 root = first + 1; root < last; root++) top = rank::best(top, *four(scores.row(root), i));
        *four(row, i) = top;
    }
    // One by one: nothing has written what is missing to a group of four.
    for (u32 col = 4 * fours + threadIdx.x; last - first > 1 && col < scores.cols; col += 256)
        for (u32 root = first + 1; root < last; root++) row[col] = rank::best(row[col], scores.row(root)[col]);
    __syncthreads();
    for (u32 i = bounds[2 * q] + threadIdx.x; i < bounds[2 * q + 1]; i += 256) {
        u32 col = filter[i] - first_entity; // wraps around where it lies before
        if (col < scores.cols) row[col] = NAN_F;
    }
    for (u32 col = scores.cols + threadIdx.x; col < 4 * ceil_div(scores.cols, 4); col += 256) row[col] = NAN_F;
}

/// Adds to `counts` (better and equal of each target) those of a chunk. A block per group of a query's targets:
/// group `g` is row `groups[3 g] - first_root`, targets `groups[3 g + 1]..groups[3 g + 2]`, at most four.
///
/// The score of target `t` is the best of `thresholds[0, offsets[t]..offsets[t + 1]]`. Itself it does not count.
/// Per score 26 instructions (4 targets x 2 comparisons that are counted) and 4 bytes of the second-level cache.
KERNEL(256, rank_count, (Mat scores, u32 first_root, const u32* groups, const u32* targets, const u32* offsets,
                         Mat thresholds, u32 first_entity, u32* counts)) {
    using namespace rank;
    __shared__ float shared_thresholds[TARGETS];
    __shared__ Count shared_counts[8][TARGETS];
    const u32 *group = groups + 3 * blockIdx.x, t = group[1] + threadIdx.x;
    const float* row = scores.row(group[0] - first_root);
    if (threadIdx.x < TARGETS) {
        float top = NAN_F;
        for (u32 i = offsets[min(t, group[2])]; t < group[2] && i < offsets[t + 1]; i++)
            top = best(top, thresholds.row(0)[i]);
        shared_thresholds[threadIdx.x] = top;
    }
    __syncthreads();

    float limits[TARGETS];
    Count here[TARGETS] = {};
#pragma unroll
    for (u32 n = 0; n < TARGETS; n++) limits[n] = shared_thresholds[n];
    // What is missing to a group of four columns is NaN, which neither beats nor equals.
    for (u32 i = threadIdx.x; i < ceil_div(scores.cols, 4); i += 256) {
        float4 s = *four(row, i);
#pragma unroll
        for (u32 n = 0; n < TARGETS; n++) {
            here[n].compare(s.x, limits[n]);
            here[n].compare(s.y, limits[n]);
            here[n].compare(s.z, limits[n]);
            here[n].compare(s.w, limits[n]);
        }
    }
#pragma unroll
    for (u32 n = 0; n < TARGETS; n++) {
        Count sum = {warp_sum(here[n].better), warp_sum(here[n].equal)};
        if (threadIdx.x % 32 == 0) shared_counts[threadIdx.x / 32][n] = sum;
    }
    __syncthreads();
    if (threadIdx.x < TARGETS && t < group[2]) {
        Count sum = {};
        for (u32 warp = 0; warp < 8; warp++) {
            sum.better += shared_counts[warp][threadIdx.x].better;
            sum.equal += shared_counts[warp][threadIdx.x].equal;
        }
        float limit = shared_thresholds[threadIdx.x];
        u32 self = targets[t] - first_entity;
        if (self < scores.cols && row[self] == limit) sum.equal--;
        counts[2 * t] = limit == limit ? counts[2 * t] + sum.better : BEATEN_BY_ALL;
        counts[2 * t + 1] += sum.equal;
    }
}
