// Scores of queries with entities, all pairs and given pairs, forward and backward.
// CPU twin: src/backend/cpu/score.rs; launchers: src/backend/cuda/score.rs; geometries: formulas.cuh.
//
// All pairs, forward: a block has a tile of queries x entities, a thread some pairs of it, whose sums stay in
// registers while rows pass through shared memory, CHUNK columns at a time.
//
// All pairs, backward: the gradients of queries are sums over entities, those of entities sums over queries.
// A block has a tile of one gradient, rows x columns, and goes over all rows of the other side in their order:
// nothing is added between blocks. One launch does both sides, so that there are blocks for every
// multiprocessor.
//
// Bound by issue slots: an instruction of a warp a cycle, in each quarter of a multiprocessor. Slots per pair and
// column on sm_90, of the arithmetic alone and with all that surrounds it (comparisons, minima and logic have half
// the rate, but a unit of their own):
//
//            scores         scores_large    scores_backward: queries   entities
//     l1     2     2.5      2      2.2                       2   2.5   2   2.7
//     l2     2     2.5      2      2.2                       2   2.9   2   2.9
//     box    4.5   5.1      4.25   4.5                       6   6.5   5   5.6
//     dot    1     1.5      1      1.2                       1   1.3   1   1.3
// Rotation, counted in its source only, per complex number: 7 forward, 8 of either gradient, one of them an inverse
// root of the special function unit.
#include "formulas.cuh"

namespace score {

using namespace formulas;

/// Threads of a block of `tile` and `pairs`.
constexpr u32 THREADS = 128;
/// Columns are added up in groups of this many; missing ones are zeros, which add nothing.
constexpr u32 CHUNK = 16;

/// A warp as 4 x 8 lanes. Half a warp reads four different rows or groups of columns in either direction, and
/// neighbours (lanes that differ in bit 0, or in bit 1) read the same: shared memory then serves a half at once.
struct Lanes {
    u32 of4, of8;
};
__device__ __forceinline__ Lanes lanes() {
    u32 i = threadIdx.x;
    return {(i >> 1 & 1) | (i >> 2 & 2), (i & 1) | (i >> 1 & 2) | (i >> 2 & 4)};
}

/// A part of rows, `d` wide.
__device__ __forceinline__ Mat part_of(const Mat& rows, u32 part, u32 d) { return columns(rows, part * d, d); }

/// Columns of a part of an entity row.
template <class G> __device__ __forceinline__ u32 part_width(const Mat& entities) { return entities.cols / G::ENTITY; }

/// Four columns of a row: anywhere in a matrix, or all inside and on 16 bytes.
struct Ragged {
    __device__ __forceinline__ float4 operator()(const Mat& m, u32 row, u32 col) const {
        return load4(m, row, col);
    }
};
struct Whole {
    __device__ __forceinline__ float4 operator()(const Mat& m, u32 row, u32 col) const {
        return *(const float4*)(m.row(row) + col);
    }
};

/// out[q, e] of a tile of 8 Q queries x 16 E entities; the threads are a grid of 8 x 16.
///
/// For every four columns a thread reads Q + E groups of four floats (of each part) and does 4 Q E pairs.
template <u32 Q, u32 E, class G>
__device__ __forceinline__ void tile(const G& g, const Mat& queries, const Mat& entities, const MatMut& out) {
    constexpr u32 TILE_Q = 8 * Q, TILE_E = 16 * E;
    // One float4 more than a chunk, so that four consecutive rows start in different banks.
    constexpr u32 PITCH = CHUNK / 4 + 1;
    // Two of each take turns: one is filled while the other is read, with one barrier a chunk.
    __shared__ float4 staged_q[2][G::QUERY][TILE_Q][PITCH], staged_e[2][G::ENTITY][TILE_E][PITCH];

    const u32 d = part_width<G>(entities), tiles_q = ceil_div(queries.rows, TILE_Q);
    // Neighbouring blocks share the entities, which are many.
    const u32 first_q = blockIdx.x % tiles_q * TILE_Q, first_e = blockIdx.x / tiles_q * TILE_E;

    // On the way to shared memory a thread carries four columns of every 32nd row; beyond the last one, of the
    // last one again, of which nothing is kept.
    const u32 carry_row = threadIdx.x / 4, carry_col = threadIdx.x % 4;
    constexpr u32 CARRY = THREADS / 4;
    float4 carried_q[G::QUERY][TILE_Q / CARRY], carried_e[G::ENTITY][TILE_E / CARRY];
    Mat query_parts[G::QUERY], entity_parts[G::ENTITY];
    bool wide = true;
#pragma unroll
    for (u32 h = 0; h < G::QUERY; h++) {
        query_parts[h] = part_of(queries, h, d);
        wide = wide && aligned(query_parts[h]);
    }
#pragma unroll
    for (u32 h = 0; h < G::ENTITY; h++) {
        entity_parts[h] = part_of(entities, h, d);
        wide = wide && aligned(entity_parts[h]);
    }
    auto fetch = [&](u32 k, auto columns_of) {
        k += 4 * carry_col;
#pragma unroll
        for (u32 n = 0; n < TILE_Q / CARRY; n++) {
            u32 row = min(first_q + carry_row + n * CARRY, queries.rows - 1);
#pragma unroll
            for (u32 h = 0; h < G::QUERY; h++) carried_q[h][n] = columns_of(query_parts[h], row, k);
        }
#pragma unroll
        for (u32 n = 0; n < TILE_E / CARRY; n++) {
            u32 row = min(first_e + carry_row + n * CARRY, entities.rows - 1);
#pragma unroll
            for (u32 h = 0; h < G::ENTITY; h++) carried_e[h][n] = columns_of(entity_parts[h], row, k);
        }
    };
    auto fetch_chunk = [&](u32 k) {
        if (wide && k + CHUNK <= d) fetch(k, Whole());
        else fetch(k, Ragged());
    };

    const u32 warp = threadIdx.x / 32, q = warp % 2 * 4 + lanes().of4, e = warp / 2 * 8 + lanes().of8;
    float sums[Q][E] = {}, constants[Q] = {};
    fetch_chunk(0);
    for (u32 k = 0, turn = 0; k < d; k += CHUNK, turn ^= 1) {
#pragma unroll
        for (u32 h = 0; h < G::QUERY; h++)
#pragma unroll
            for (u32 n = 0; n < TILE_Q / CARRY; n++)
                staged_q[turn][h][carry_row + n * CARRY][carry_col] = carried_q[h][n];
#pragma unroll
        for (u32 h = 0; h < G::ENTITY; h++)
#pragma unroll
            for (u32 n = 0; n < TILE_E / CARRY; n++)
                staged_e[turn][h][carry_row + n * CARRY][carry_col] = carried_e[h][n];
        __syncthreads();
        if (k + CHUNK < d) fetch_chunk(k + CHUNK);
        // Where a thread holds much, a second group of columns would spill (sm_80, entity rows of two parts).
#pragma unroll(Q * E * G::ENTITY > 16 ? 1 : 2)
        for (u32 c = 0; c < CHUNK / 4; c++) {
            float4 qs[Q][G::QUERY], es[G::ENTITY];
#pragma unroll
            for (u32 i = 0; i < Q; i++) {
#pragma unroll
                for (u32 h = 0; h < G::QUERY; h++) qs[i][h] = staged_q[turn][h][q + 8 * i][c];
                constants[i] = constant(g, constants[i], qs[i]);
            }
#pragma unroll
            for (u32 j = 0; j < E; j++) {
#pragma unroll
                for (u32 h = 0; h < G::ENTITY; h++) es[h] = staged_e[turn][h][e + 16 * j][c];
#pragma unroll
                for (u32 i = 0; i < Q; i++) sums[i][j] = accumulate(g, sums[i][j], qs[i], es);
            }
        }
    }
#pragma unroll
    for (u32 i = 0; i < Q; i++)
#pragma unroll
        for (u32 j = 0; j < E; j++) {
            u32 row = first_q + q + 8 * i, col = first_e + e + 16 * j;
            if (row < out.rows && col < out.cols) out.row(row)[col] = g.score(sums[i][j], constants[i]);
        }
}

/// Pair `i` of `per_query_scores`: roots one after the other, each with all candidates of its query.
struct Own {
    const u32* root_offsets;
    u32 queries, candidates;
    __device__ __forceinline__ u32 query(u32 i) const { return i / candidates; }
    __device__ __forceinline__ u32 entity(u32 i) const {
        u32 root = i / candidates, low = 0, high = queries - 1; // the last query that starts at the root or before
        while (low < high) {
            u32 middle = low + (high - low + 1) / 2;
            if (root_offsets[middle] <= root) low = middle;
            else high = middle - 1;
        }
        return low * candidates + i % candidates;
    }
};

/// Pairs as two lists of rows.
struct Listed {
    const u32 *queries, *entities;
    __device__ __forceinline__ u32 query(u32 i) const { return queries[i]; }
    __device__ __forceinline__ u32 entity(u32 i) const { return entities[i]; }
};

/// The cells of `out`, row by row, 16 pairs a block: all threads bring rows, one adds up each pair.
///
/// Bound by the latency of a few loads and of `d` dependent additions, so blocks are small and many.
template <class G, class Pairs>
__device__ __forceinline__ void pairs(const G& g, const Mat& queries, const Mat& entities, const Pairs& list,
                                      const MatMut& out) {
    // A stripe of rows of many parts is shorter, to fit shared memory.
    constexpr u32 ALL = G::QUERY + G::ENTITY, PAIRS = 16, STRIPE = ALL > 4 ? 64 : 128;
    __shared__ u32 rows[2][PAIRS];
    __shared__ float4 staged[ALL][PAIRS][STRIPE / 4 + 1];
    const u32 d = part_width<G>(entities), i = blockIdx.x * PAIRS + threadIdx.x, last = out.rows * out.cols - 1;
    if (threadIdx.x < PAIRS) {
        rows[0][threadIdx.x] = list.query(min(i, last));
        rows[1][threadIdx.x] = list.entity(min(i, last));
    }
    __syncthreads();
    // Parts of queries, then of entities.
    Mat from[ALL];
#pragma unroll
    for (u32 h = 0; h < ALL; h++)
        from[h] = h < G::QUERY ? part_of(queries, h, d) : part_of(entities, h - G::QUERY, d);
    // A thread brings four columns of every AT_ONCE-th row.
    constexpr u32 AT_ONCE = THREADS / (STRIPE / 4), EACH = PAIRS / AT_ONCE;
    const u32 line = threadIdx.x / (STRIPE / 4), lane = threadIdx.x % (STRIPE / 4);
    float sum = 0.0f, shift = 0.0f;
    for (u32 k = 0; k < d; k += STRIPE) {
        // All loads are under way before the first is waited for.
        float4 carried[ALL][EACH];
#pragma unroll
        for (u32 h = 0; h < ALL; h++)
#pragma unroll
            for (u32 n = 0; n < EACH; n++)
                carried[h][n] = load4(from[h], rows[h >= G::QUERY][n * AT_ONCE + line], k + 4 * lane);
#pragma unroll
        for (u32 h = 0; h < ALL; h++)
#pragma unroll
            for (u32 n = 0; n < EACH; n++) staged[h][n * AT_ONCE + line][lane] = carried[h][n];
        __syncthreads();
        if (threadIdx.x < PAIRS) {
            u32 chunks = ceil_div(min(STRIPE, d - k), CHUNK);
#pragma unroll 4
            for (u32 c = 0; c < chunks * CHUNK / 4; c++) {
                float4 qs[G::QUERY], es[G::ENTITY];
#pragma unroll
                for (u32 h = 0; h < G::QUERY; h++) qs[h] = staged[h][threadIdx.x][c];
#pragma unroll
                for (u32 h = 0; h < G::ENTITY; h++) es[h] = staged[G::QUERY + h][threadIdx.x][c];
                shift = constant(g, shift, qs);
                sum = accumulate(g, sum, qs, es);
            }
        }
        __syncthreads();
    }
    if (threadIdx.x < PAIRS && i <= last) out.row(i / out.cols)[i % out.cols] = g.score(sum, shift);
}

/// Rows of the other side that `gradients` brings at once.
constexpr u32 OTHERS = 16;

/// What a block of `gradients` shares: weights and rows of the other side (two of each take turns), and what
/// each of the threads that bring a row's weights has added up of them.
template <class G> struct Staged {
    static constexpr u32 ROWS = 16 * G::WARPS, COLS = 32 * G::GROUPS;
    static constexpr u32 PARTS = G::QUERY > G::ENTITY ? G::QUERY : G::ENTITY;
    // By row of the other side. Four more than the rows, so that fewer of them are written to the same bank.
    float weights[2][OTHERS][ROWS + 4];
    float4 others[2][PARTS][OTHERS][COLS / 4];
    float totals[8][ROWS];
};

/// Tile `at` of the gradient of queries (OF_QUERIES) or of entities: 16 WARPS rows x 32 GROUPS columns of each part, of which
/// a thread has 4 rows x GROUPS times 4 columns.
///
/// For every row of the other side a thread reads 1 + GROUPS groups of four floats and does 16 GROUPS pairs.
template <bool OF_QUERIES, class G>
__device__ __forceinline__ void gradients(const G& g, const Mat& queries, const Mat& entities, const Mat& scores,
                                          const Mat& weights, const MatMut& out, u32 at, Staged<G>& staged) {
    constexpr u32 GROUPS = G::GROUPS, BLOCK = 32 * G::WARPS, ROWS = 16 * G::WARPS, COLS = 32 * GROUPS;
    // Parts of either side's rows.
    constexpr u32 OWN = OF_QUERIES ? G::QUERY : G::ENTITY, OTHER = OF_QUERIES ? G::ENTITY : G::QUERY;
    const u32 d = part_width<G>(entities), tiles = ceil_div(d, COLS), t = threadIdx.x;
    const u32 first_row = at / tiles * ROWS, first_col = at % tiles * COLS;
    const Mat &own = OF_QUERIES ? queries : entities, &other = OF_QUERIES ? entities : queries;
    Mat own_parts[OWN], other_parts[OTHER];
#pragma unroll
    for (u32 h = 0; h < OWN; h++) own_parts[h] = part_of(own, h, d);
#pragma unroll
    for (u32 h = 0; h < OTHER; h++) other_parts[h] = part_of(other, h, d);

    // On the way to shared memory a thread carries eight weights, of sixteen entities for all queries of the
    // tile or of all its entities for sixteen queries, and a few groups of columns of the other side.
    constexpr u32 LINE = OF_QUERIES ? 4 : ROWS / 4;
    const u32 weight_row = t / LINE, weight_col = t % LINE;
    constexpr u32 WEIGHT_ROWS = BLOCK / LINE, CARRY = OTHERS * (COLS / 4) / BLOCK;
    float4 carried_w[2], carried_s[2], carried_x[OTHER][CARRY];
    auto other_row = [&](u32 n) { return t / (COLS / 4) + n * BLOCK / (COLS / 4); };
    auto fetch = [&](u32 j, auto columns_of) {
#pragma unroll
        for (u32 n = 0; n < 2; n++) {
            u32 row = (OF_QUERIES ? first_row : j) + weight_row + n * WEIGHT_ROWS;
            u32 col = (OF_QUERIES ? j : first_row) + 4 * weight_col;
            carried_w[n] = columns_of(weights, row, col);
            if (G::SCORES) carried_s[n] = columns_of(scores, row, col);
        }
#pragma unroll
        for (u32 n = 0; n < CARRY; n++) {
            u32 col = first_col + 4 * (t % (COLS / 4));
#pragma unroll
            for (u32 h = 0; h < OTHER; h++) carried_x[h][n] = columns_of(other_parts[h], j + other_row(n), col);
        }
    };
    bool whole = aligned(weights) && (!G::SCORES || aligned(scores)) && first_row + ROWS <= own.rows &&
                 first_col + COLS <= d;
#pragma unroll
    for (u32 h = 0; h < OTHER; h++) whole = whole && aligned(other_parts[h]);
    auto fetch_rows = [&](u32 j) {
        if (whole && j + OTHERS <= other.rows) fetch(j, Whole());
        else fetch(j, Ragged());
    };
    // Sums of the weights that this thread carries, of two rows or of four columns.
    float totals[4] = {};
    auto stage = [&](u32 turn) {
#pragma unroll
        for (u32 n = 0; n < 2; n++) {
            const u32 row = weight_row + n * WEIGHT_ROWS;
            float w[4], s[4] = {};
            spread(carried_w[n], w);
            if (G::SCORES) spread(carried_s[n], s);
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                w[i] = g.weight(w[i], s[i]);
                totals[OF_QUERIES ? n : i] += w[i];
                if (OF_QUERIES) staged.weights[turn][4 * weight_col + i][row] = w[i];
            }
            if (!OF_QUERIES) *four(staged.weights[turn][row], weight_col) = make_float4(w[0], w[1], w[2], w[3]);
        }
#pragma unroll
        for (u32 n = 0; n < CARRY; n++) {
#pragma unroll
            for (u32 h = 0; h < OTHER; h++) staged.others[turn][h][other_row(n)][t % (COLS / 4)] = carried_x[h][n];
        }
    };

    const u32 rows = t / 32 * 4 + lanes().of4, cols = lanes().of8; // groups of four
    float x[GROUPS][4][4][OWN];
#pragma unroll
    for (u32 c = 0; c < GROUPS; c++)
#pragma unroll
        for (u32 r = 0; r < 4; r++) {
            u32 row = first_row + 4 * rows + r, col = first_col + 32 * c + 4 * cols;
#pragma unroll
            for (u32 h = 0; h < OWN; h++) {
                float v[4];
                spread(load4(own_parts[h], row, col), v);
#pragma unroll
                for (u32 k = 0; k < 4; k++) x[c][r][k][h] = v[k];
            }
        }

    float sums[GROUPS][4][4][OWN] = {}, unused[OTHER] = {};
    fetch_rows(0);
    for (u32 j = 0, turn = 0; j < other.rows; j += OTHERS, turn ^= 1) {
        stage(turn);
        __syncthreads();
        if (j + OTHERS < other.rows) fetch_rows(j + OTHERS);
// Rows of many parts fill the registers.
#pragma unroll(OWN + OTHER > 4 ? 1 : 4)
        for (u32 n = 0; n < OTHERS; n++) {
            float w[4];
            spread(*four(staged.weights[turn][n], rows), w);
#pragma unroll
            for (u32 c = 0; c < GROUPS; c++) {
                float4 groups[OTHER];
#pragma unroll
                for (u32 h = 0; h < OTHER; h++) groups[h] = staged.others[turn][h][n][8 * c + cols];
#pragma unroll
                for (u32 r = 0; r < 4; r++)
#pragma unroll
                    for (u32 k = 0; k < 4; k++) {
                        float y[OTHER];
                        take(groups, k, y);
                        if constexpr (OF_QUERIES) g.backward(w[r], x[c][r][k], y, sums[c][r][k], unused);
                        else g.backward(w[r], y, x[c][r][k], unused, sums[c][r][k]);
                    }
            }
        }
    }

    float total[4] = {};
    if (G::TOTALS) {
        if (OF_QUERIES) {
            for (u32 n = 0; n < 2; n++) staged.totals[weight_col][weight_row + n * WEIGHT_ROWS] = totals[n];
        } else {
            for (u32 i = 0; i < 4; i++) staged.totals[weight_row][4 * weight_col + i] = totals[i];
        }
        __syncthreads();
        for (u32 part = 0; part < (OF_QUERIES ? LINE : WEIGHT_ROWS); part++)
            for (u32 r = 0; r < 4; r++) total[r] += staged.totals[part][4 * rows + r];
    }
#pragma unroll
    for (u32 c = 0; c < GROUPS; c++)
#pragma unroll
        for (u32 r = 0; r < 4; r++) {
            u32 row = first_row + 4 * rows + r, col = first_col + 32 * c + 4 * cols;
#pragma unroll
            for (u32 h = 0; h < OWN; h++) {
                float v[4];
#pragma unroll
                for (u32 k = 0; k < 4; k++)
                    v[k] = OF_QUERIES ? g.finish_query(h, sums[c][r][k][h], x[c][r][k][h], total[r])
                                      : g.finish_entity(sums[c][r][k][h], total[r]);
                store4(columns(out, h * d, d), row, col, make_float4(v[0], v[1], v[2], v[3]));
            }
        }
}

/// Both gradients; those of queries first, whose blocks have the longer way where entities are more.
template <class G>
__device__ __forceinline__ void both_gradients(const G& g, const Mat& queries, const Mat& entities,
                                               const Mat& scores, const Mat& weights, const MatMut& dqueries,
                                               const MatMut& dentities) {
    typedef Staged<G> Shared;
    __shared__ Shared staged;
    u32 tiles_q = ceil_div(queries.rows, Shared::ROWS) * ceil_div(part_width<G>(entities), Shared::COLS);
    u32 at = blockIdx.x;
    if (at < tiles_q) gradients<true>(g, queries, entities, scores, weights, dqueries, at, staged);
    else gradients<false>(g, queries, entities, scores, weights, dentities, at - tiles_q, staged);
}

/// Writes the gradients of each query's own candidates and adds to those of its roots. A thread per column of a
/// query: its sums touch no other thread's.
template <class G>
__device__ __forceinline__ void own_gradients(const G& g, const Mat& queries, const Mat& entities,
                                              const u32* root_offsets, const Mat& scores, const Mat& weights,
                                              const MatMut& dqueries, const MatMut& dentities) {
    constexpr u32 AHEAD = 4; // candidates whose loads are under way at once
    const u32 d = part_width<G>(entities), candidates = weights.cols;
    Cell c = cell(entities.rows / candidates, d);
    if (!c.inside) return;
    const i64 first = (i64)c.row * candidates;
    const u32 first_root = root_offsets[c.row];
    for (u32 root = first_root; root < root_offsets[c.row + 1]; root++) {
        typename G::Query q, dq = {};
        float total = 0.0f;
#pragma unroll
        for (u32 h = 0; h < G::QUERY; h++) q[h] = queries.row(root)[h * d + c.col];
        for (u32 n = 0; n < candidates; n += AHEAD) {
            float e[AHEAD][G::ENTITY], w[AHEAD];
#pragma unroll
            for (u32 j = 0; j < AHEAD; j++) {
                u32 at = min(n + j, candidates - 1);
#pragma unroll
                for (u32 h = 0; h < G::ENTITY; h++) e[j][h] = entities.row(first + at)[h * d + c.col];
                w[j] = g.weight(weights.row(root)[at], scores.row(root)[at]);
            }
#pragma unroll
            for (u32 j = 0; j < AHEAD; j++) {
                if (n + j >= candidates) break;
                typename G::Entity de = {};
                g.backward(w[j], q, e[j], dq, de);
                total += w[j];
#pragma unroll
                for (u32 h = 0; h < G::ENTITY; h++) {
                    float& to = dentities.row(first + n + j)[h * d + c.col];
                    to = (root == first_root ? 0.0f : to) + g.finish_entity(de[h], w[j]);
                }
            }
        }
#pragma unroll
        for (u32 h = 0; h < G::QUERY; h++)
            dqueries.row(root)[h * d + c.col] += g.finish_query(h, dq[h], q[h], total);
    }
}

/// A large tile of scores is 8 Q queries x 16 E entities: rows of many parts fill shared memory with fewer.
template <class G> struct Large {
    static constexpr u32 Q = G::QUERY > 2 ? 4 : 8, E = 8 / G::ENTITY;
};

} // namespace score

// The kernels of a geometry.
#define SCORE_KERNELS(name, G)                                                                                        \
    /* out[q, e], for few pairs and for many */                                                                       \
    KERNEL(128, scores_##name, (formulas::G g, Mat queries, Mat entities, MatMut out)) {                              \
        score::tile<4, 4>(g, queries, entities, out);                                                                 \
    }                                                                                                                 \
    KERNEL(128, scores_large_##name, (formulas::G g, Mat queries, Mat entities, MatMut out)) {                        \
        score::tile<score::Large<formulas::G>::Q, score::Large<formulas::G>::E>(g, queries, entities, out);           \
    }                                                                                                                 \
    /* Gradients of queries and entities from weights = d loss / d scores */                                          \
    KERNEL(32 * formulas::G::WARPS, scores_backward_##name, (formulas::G g, Mat queries, Mat entities, Mat scores, Mat weights, \
                                                MatMut dqueries, MatMut dentities)) {                                 \
        score::both_gradients(g, queries, entities, scores, weights, dqueries, dentities);                            \
    }                                                                                                                 \
    /* out[r, n] = score(queries[r], entities[q k + n]) for the roots r of each query q, k columns of out */          \
    KERNEL(128, per_query_scores_##name, (formulas::G g, Mat queries, Mat entities, const u32* root_offsets, MatMut out)) { \
        score::Own own = {root_offsets, entities.rows / out.cols, out.cols};                                          \
        score::pairs(g, queries, entities, own, out);                                                                 \
    }                                                                                                                 \
    KERNEL(256, per_query_scores_backward_##name, (formulas::G g, Mat queries, Mat entities, const u32* root_offsets,       \
                                             Mat scores, Mat weights, MatMut dqueries, MatMut dentities)) {           \
        score::own_gradients(g, queries, entities, root_offsets, scores, weights, dqueries, dentities);               \
    }                                                                                                                 \
    /* out[0, i] = score(queries[query_rows[i]], entities[entity_rows[i]]) */                                         \
    KERNEL(128, listed_scores_##name, (formulas::G g, Mat queries, Mat entities, const u32* query_rows,               \
                                       const u32* entity_rows, MatMut out)) {                                         \
        score::pairs(g, queries, entities, score::Listed{query_rows, entity_rows}, out);                              \
    }
EACH_GEOMETRY(SCORE_KERNELS)
#undef SCORE_KERNELS
