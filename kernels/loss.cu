// The loss of queries with one positive and a masked pool of negatives. CPU twin: src/backend/cpu/loss.rs;
// launcher: src/backend/cuda/loss.rs.
#include "common.cuh"

/// The first of the best of a query's roots. NaN replaces any score and no number replaces NaN, so that it
/// reaches the loss.
struct Best {
    u32 root;
    float score;
};
template <class Score> __device__ __forceinline__ Best best_root(u32 first, u32 last, Score score_of) {
    Best best = {first, score_of(first)};
#pragma unroll 1
    for (u32 root = first + 1; root < last; root++) {
        float score = score_of(root);
        if (score > best.score || score != score) best = {root, score};
    }
    return best;
}

/// A block a query, a thread every 256th entry of the pool.
///
/// The pool is read twice: for the softmax (the greatest score and the sum relative to it, together), then
/// for losses and weights. What the first reading brings to the cache serves the second. Floor: 8 bytes per
/// entry and root, one score and one weight. With one root an entry takes 43 instructions and then 130, most
/// of them for exponentials, logarithm and quotient.
template <bool ADVERSARIAL>
__device__ __forceinline__ void loss(float temperature, const u32* root_offsets, Mat positives, Mat scores,
                                     const u32* mask, u32 mask_words, Mat query_weights, MatMut losses,
                                     MatMut positive_weights, MatMut weights) {
    u32 q = blockIdx.x, pool = scores.cols, first = root_offsets[q], last = root_offsets[q + 1];
    float query_weight = query_weights.row(0)[q];
    const u32* words = mask + (i64)q * mask_words;
    auto is_kept = [=](u32 n) { return (words[n / 32] >> n % 32 & 1) == 0; };
    auto negative = [=](u32 n) { return best_root(first, last, [=](u32 r) { return scores.row(r)[n]; }); };
    auto relative = [=](float score, float max) { return expf(temperature * fminf(score - max, 0.0f)); };
    auto add = [](float a, float b) { return a + b; };

    float max = -3.40282347e38f, total = 0.0f;
    for (u32 n = threadIdx.x; n < pool; n += 256) {
        if (ADVERSARIAL) {
            float score = negative(n).score, greater = is_kept(n) ? fmaxf(max, score) : max;
            total = total * relative(max, greater) + (is_kept(n) ? relative(score, greater) : 0.0f);
            max = greater;
        } else {
            total += is_kept(n) ? 1.0f : 0.0f;
        }
    }
    if (ADVERSARIAL) {
        float own = max;
        max = block_reduce(own, [](float a, float b) { return fmaxf(a, b); });
        total *= relative(own, max);
    }
    total = block_reduce(total, add);

    // With every entry masked only the positive is left.
    float scale = total > 0.0f ? 1.0f / total : 0.0f, sum = 0.0f;
    for (u32 n = threadIdx.x; n < pool; n += 256) {
        Best best = negative(n);
        float share = ADVERSARIAL ? scale * relative(best.score, max) : scale;
        float weight = 0.5f * query_weight * share * sigmoid(best.score);
        // A masked entry adds nothing and gets no gradient, even if its score is NaN.
        sum += is_kept(n) ? share * softplus(best.score) : 0.0f;
        weight = is_kept(n) ? weight : 0.0f;
        // The weight of a score goes to the root that gave it.
#pragma unroll 1
        for (u32 r = first; r < last; r++) weights.row(r)[n] = r == best.root ? weight : 0.0f;
    }
    sum = block_reduce(sum, add);

    if (threadIdx.x > 0) return;
    Best positive = best_root(first, last, [=](u32 r) { return positives.row(0)[r]; });
    losses.row(0)[q] = 0.5f * query_weight * (softplus(-positive.score) + sum);
    float weight = -0.5f * query_weight * sigmoid(-positive.score);
    for (u32 r = first; r < last; r++) positive_weights.row(0)[r] = r == positive.root ? weight : 0.0f;
}
#define LOSS(name, ADVERSARIAL)                                                                          \
    KERNEL(256, name, (float temperature, const u32* root_offsets, Mat positives, Mat scores,            \
                       const u32* mask, u32 mask_words, Mat query_weights, MatMut losses,                \
                       MatMut positive_weights, MatMut weights)) {                                       \
        loss<ADVERSARIAL>(temperature, root_offsets, positives, scores, mask, mask_words, query_weights, \
                          losses, positive_weights, weights);                                            \
    }
LOSS(loss_adversarial, true)
LOSS(loss_uniform, false)
#undef LOSS
