// Scores by the divergence of Beta distributions. CPU twin: src/backend/cpu/beta.rs, which has the formula;
// launchers: src/backend/cuda/beta.rs.
//
// Rows become float64 once: queries their parameters, entities F = [psi(a) - psi(a + b), psi(b) - psi(a + b)], each
// with a term behind its columns. A score is then a product in float64, whose columns are added in ascending order in
// every kernel: the same bits for a pair wherever it stands. Bound by float64 multiply-adds: one a pair and column.
#include "special.cuh"

namespace beta {

/// `rows x cols` doubles and a term behind each row; row `i` at `data + i * stride`.
struct Rows {
    double* data;
    i64 stride;
    u32 rows, cols;
    __device__ __forceinline__ double* row(i64 i) const {
        ASSERT(i >= 0 && i < rows);
        return data + i * stride;
    }
    __device__ __forceinline__ double term(i64 i) const { return row(i)[cols]; }
};

/// Bounds of the parameters that rows of entities stand for; of those of queries, which are parameters, none.
struct Bounds {
    float least, greatest;
    __device__ __forceinline__ double parameter(float x) const {
        double y = (double)x + 1.0;
        return y < (double)least ? (double)least : y > (double)greatest ? (double)greatest : y;
    }
    __device__ __forceinline__ double slope(double y) const {
        return y > (double)least && y < (double)greatest ? 1.0 : 0.0;
    }
};

/// Threads of a block that has a row.
constexpr u32 THREADS = 128;

/// The sum over a block, to its first thread, in a fixed order.
template <class T> __device__ __forceinline__ T block_sum(T x, T* shared) {
    shared[threadIdx.x] = x;
    __syncthreads();
    T sum = 0;
    if (threadIdx.x == 0)
        for (u32 i = 0; i < THREADS; i++) sum += shared[i];
    return sum;
}

/// The score from the product and both terms.
__device__ __forceinline__ float score(float gamma, double query, double entity, double product) {
    return (float)((double)gamma - (query + entity - product));
}

/// The score of a pair by itself.
__device__ __forceinline__ float pair(float gamma, const Rows& queries, i64 q, const Rows& entities, i64 e) {
    const double *x = queries.row(q), *y = entities.row(e);
    double sum = 0.0;
#pragma unroll 8
    for (u32 k = 0; k < queries.cols; k++) sum = fma(x[k], y[k], sum);
    return score(gamma, x[queries.cols], y[entities.cols], sum);
}

} // namespace beta

/// Queries: their parameters, and sum ln B. A block per row.
KERNEL(128, beta_queries, (Mat queries, beta::Rows out)) {
    __shared__ double shared[beta::THREADS];
    const u32 d = queries.cols / 2;
    const float* row = queries.row(blockIdx.x);
    double *to = out.row(blockIdx.x), term = 0.0;
    for (u32 k = threadIdx.x; k < d; k += beta::THREADS) {
        double a = (double)row[k], b = (double)row[d + k];
        term += special::gamma(a).ln + special::gamma(b).ln - special::gamma(a + b).ln;
        to[k] = a;
        to[d + k] = b;
    }
    term = beta::block_sum(term, shared);
    if (threadIdx.x == 0) to[out.cols] = term;
}

/// Entities, all or those of a list: F, and <e, F(e)> - sum ln B(e). A block per row.
KERNEL(128, beta_entities, (beta::Bounds bounds, Mat entities, const u32* list, beta::Rows out)) {
    __shared__ double shared[beta::THREADS];
    const u32 d = entities.cols / 2;
    const float* row = entities.row(list ? list[blockIdx.x] : blockIdx.x);
    double *to = out.row(blockIdx.x), term = 0.0;
    for (u32 k = threadIdx.x; k < d; k += beta::THREADS) {
        double a = bounds.parameter(row[k]), b = bounds.parameter(row[d + k]);
        special::Gamma of_a = special::gamma(a), of_b = special::gamma(b), of_sum = special::gamma(a + b);
        double fa = of_a.psi - of_sum.psi, fb = of_b.psi - of_sum.psi;
        term += a * fa + b * fb - (of_a.ln + of_b.ln - of_sum.ln);
        to[k] = fa;
        to[d + k] = fb;
    }
    term = beta::block_sum(term, shared);
    if (threadIdx.x == 0) to[out.cols] = term;
}

/// out[q, e]: a block has a tile of 64 x 64, a thread 4 x 4 pairs of it.
KERNEL(256, beta_scores, (float gamma, beta::Rows queries, beta::Rows entities, MatMut out)) {
    constexpr u32 TILE = 64, CHUNK = 16;
    // One more than a tile, so that a row's columns are written to different banks.
    __shared__ double staged_q[CHUNK][TILE + 1], staged_e[CHUNK][TILE + 1];
    const u32 tiles_q = ceil_div(queries.rows, TILE), t = threadIdx.x;
    const u32 first_q = blockIdx.x % tiles_q * TILE, first_e = blockIdx.x / tiles_q * TILE;
    const u32 q = t / 16, e = t % 16;
    double sums[4][4] = {};
    for (u32 k = 0; k < queries.cols; k += CHUNK) {
        for (u32 i = t / CHUNK; i < TILE; i += 256 / CHUNK) {
            // What is missing is zero, which adds nothing; of missing rows nothing is kept.
            u32 col = t % CHUNK, of_q = min(first_q + i, queries.rows - 1), of_e = min(first_e + i, entities.rows - 1);
            bool inside = k + col < queries.cols;
            staged_q[col][i] = inside ? queries.row(of_q)[k + col] : 0.0;
            staged_e[col][i] = inside ? entities.row(of_e)[k + col] : 0.0;
        }
        __syncthreads();
#pragma unroll 4
        for (u32 c = 0; c < CHUNK; c++) {
            double x[4], y[4];
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                x[i] = staged_q[c][q + 16 * i];
                y[i] = staged_e[c][e + 16 * i];
            }
#pragma unroll
            for (u32 i = 0; i < 4; i++)
#pragma unroll
                for (u32 j = 0; j < 4; j++) sums[i][j] = fma(x[i], y[j], sums[i][j]);
        }
        __syncthreads();
    }
    for (u32 i = 0; i < 4; i++)
        for (u32 j = 0; j < 4; j++) {
            u32 row = first_q + q + 16 * i, col = first_e + e + 16 * j;
            if (row < out.rows && col < out.cols)
                out.row(row)[col] = beta::score(gamma, queries.term(row), entities.term(col), sums[i][j]);
        }
}

/// out[r, n] = score(queries[r], entity q k + n) for the roots r of each query q, as far as the entity is one of
/// `first..first + entities.rows`; k columns of out. A thread per cell.
KERNEL(256, beta_per_query_scores, (float gamma, beta::Rows queries, beta::Rows entities, i64 first,
                              const u32* root_offsets, u32 num_queries, MatMut out)) {
    Cell c = cell(out.rows, out.cols);
    if (!c.inside) return;
    u32 low = 0, high = num_queries - 1; // the last query that starts at the root or before
    while (low < high) {
        u32 middle = low + (high - low + 1) / 2;
        if (root_offsets[middle] <= c.row) low = middle;
        else high = middle - 1;
    }
    i64 entity = (i64)low * out.cols + c.col - first;
    if (entity >= 0 && entity < entities.rows)
        out.row(c.row)[c.col] = beta::pair(gamma, queries, c.row, entities, entity);
}

/// out[0, i] = score(queries[list[i]], entity i). A thread per pair.
KERNEL(256, beta_listed_scores, (float gamma, beta::Rows queries, const u32* list, beta::Rows entities, MatMut out)) {
    u32 i = blockIdx.x * 256 + threadIdx.x;
    if (i < out.cols) out.row(0)[i] = beta::pair(gamma, queries, list[i], entities, i);
}

/// out = F of the entities, in float32.
KERNEL(256, beta_features, (beta::Bounds bounds, Mat entities, MatMut out)) {
    u32 d = entities.cols / 2;
    Cell c = cell(entities.rows, d);
    if (!c.inside) return;
    const float* row = entities.row(c.row);
    double a = bounds.parameter(row[c.col]), b = bounds.parameter(row[d + c.col]);
    double sum = special::digamma(a + b);
    out.row(c.row)[c.col] = (float)(special::digamma(a) - sum);
    out.row(c.row)[d + c.col] = (float)(special::digamma(b) - sum);
}

/// dqueries -= F(q) times the sum of the query's weights. A block per row.
KERNEL(128, beta_finish_queries, (Mat queries, Mat weights, MatMut dqueries)) {
    __shared__ float shared[beta::THREADS];
    __shared__ float total;
    const u32 d = queries.cols / 2;
    const float *row = queries.row(blockIdx.x), *weight = weights.row(blockIdx.x);
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < weights.cols; i += beta::THREADS) sum += weight[i];
    sum = beta::block_sum(sum, shared);
    if (threadIdx.x == 0) total = sum;
    __syncthreads();
    float* dq = dqueries.row(blockIdx.x);
    for (u32 k = threadIdx.x; k < d; k += beta::THREADS) {
        double a = (double)row[k], b = (double)row[d + k], of_sum = special::digamma(a + b);
        dq[k] -= total * (float)(special::digamma(a) - of_sum);
        dq[d + k] -= total * (float)(special::digamma(b) - of_sum);
    }
}

/// sums[0, e] = the sum of a column of weights.
KERNEL(256, beta_column_sums, (Mat weights, MatMut sums)) {
    u32 e = blockIdx.x * 256 + threadIdx.x;
    if (e >= weights.cols) return;
    float sum = 0.0f;
    for (u32 q = 0; q < weights.rows; q++) sum += weights.row(q)[e];
    sums.row(0)[e] = sum;
}

/// sums[q, n] = the sum over a query's roots of the weights of its candidate n.
KERNEL(256, beta_own_sums, (Mat weights, const u32* root_offsets, MatMut sums)) {
    Cell c = cell(sums.rows, sums.cols);
    if (!c.inside) return;
    float sum = 0.0f;
    for (u32 root = root_offsets[c.row]; root < root_offsets[c.row + 1]; root++) sum += weights.row(root)[c.col];
    sums.row(c.row)[c.col] = sum;
}

/// Turns `sum w q` of each entity into its gradient; sums[0, e] is `sum w`.
KERNEL(256, beta_finish_entities, (beta::Bounds bounds, Mat entities, Mat sums, MatMut dentities)) {
    u32 d = entities.cols / 2;
    Cell c = cell(entities.rows, d);
    if (!c.inside) return;
    const float* row = entities.row(c.row);
    float* de = dentities.row(c.row);
    double a = bounds.parameter(row[c.col]), b = bounds.parameter(row[d + c.col]);
    double weight = (double)sums.row(0)[c.row];
    double by_a = (double)de[c.col] - weight * a, by_b = (double)de[d + c.col] - weight * b;
    double both = (by_a + by_b) * special::trigamma(a + b);
    de[c.col] = (float)(bounds.slope(a) * (by_a * special::trigamma(a) - both));
    de[d + c.col] = (float)(bounds.slope(b) * (by_b * special::trigamma(b) - both));
}
