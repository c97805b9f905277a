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

/// The formulas of `PoolLoss` in src/program/ops/loss.rs.
enum { LOSS_LOGISTIC, LOSS_CROSS_ENTROPY, LOSS_MARGIN };

/// A block a query, a thread every 256th entry of the pool.
///
/// The pool is read twice: for the softmax (the greatest score and the sum relative to it, together), then
/// for losses and weights. What the first reading brings to the cache serves the second. Floor: 8 bytes per
/// entry and root, one score and one weight. With one root an entry takes 43 instructions and then, with the
/// logistic loss, 130, most of them for exponentials, logarithm and quotient.
///
/// Cross-entropy is the softmax of two: the positive, and all negatives as one whose score is log sum e^s. So
/// neither a large positive nor a large negative swallows the other.
template <int LOSS, bool ADVERSARIAL>
__device__ __forceinline__ void loss(float temperature, float margin, const u32* root_offsets, Mat positives,
                                     Mat scores, const u32* mask, u32 mask_words, Mat query_weights,
                                     MatMut losses, MatMut positive_weights, MatMut weights) {
    constexpr bool SOFTMAX = ADVERSARIAL || LOSS == LOSS_CROSS_ENTROPY;
    u32 q = blockIdx.x, pool = scores.cols, first = root_offsets[q], last = root_offsets[q + 1];
    float query_weight = query_weights.row(0)[q];
    const u32* words = mask + (i64)q * mask_words;
    auto is_kept = [=](u32 n) { return (words[n / 32] >> n % 32 & 1) == 0; };
    auto negative = [=](u32 n) { return best_root(first, last, [=](u32 r) { return scores.row(r)[n]; }); };
    auto relative = [=](float score, float max) {
        // Weights are numbers even of a score that is NaN; with cross-entropy they are what tells of it.
        if (LOSS == LOSS_CROSS_ENTROPY) return expf(score - max);
        return expf(temperature * fminf(score - max, 0.0f));
    };
    auto add = [](float a, float b) { return a + b; };
    Best positive = best_root(first, last, [=](u32 r) { return positives.row(0)[r]; });

    float max = -3.40282347e38f, total = 0.0f;
    for (u32 n = threadIdx.x; n < pool; n += 256) {
        if (SOFTMAX) {
            float score = negative(n).score, greater = is_kept(n) ? fmaxf(max, score) : max;
            total = total * relative(max, greater) + (is_kept(n) ? relative(score, greater) : 0.0f);
            max = greater;
        } else {
            total += is_kept(n) ? 1.0f : 0.0f;
        }
    }
    if (SOFTMAX) {
        float own = max;
        max = block_reduce(own, [](float a, float b) { return fmaxf(a, b); });
        total *= relative(own, max);
    }
    total = block_reduce(total, add);

    // With every entry masked only the positive is left. What is NaN stays NaN.
    float scale = total == 0.0f ? 0.0f : 1.0f / total, sum = 0.0f, derivatives = 0.0f;
    float rest = max + logf(total) - positive.score;
    if (LOSS == LOSS_CROSS_ENTROPY) scale *= total == 0.0f ? 0.0f : sigmoid(rest);
    for (u32 n = threadIdx.x; n < pool; n += 256) {
        Best best = negative(n);
        float share = SOFTMAX ? scale * relative(best.score, max) : scale, derivative = share, loss = 0.0f;
        if (LOSS == LOSS_LOGISTIC) {
            derivative = 0.5f * share * sigmoid(best.score);
            loss = 0.5f * share * softplus(best.score);
        }
        if (LOSS == LOSS_MARGIN) {
            float gap = margin + best.score - positive.score;
            derivative = gap <= 0.0f ? 0.0f : share;
            loss = share * relu(gap);
        }
        // A masked entry adds nothing and gets no gradient, even if its score is NaN.
        sum += is_kept(n) ? loss : 0.0f;
        derivative = is_kept(n) ? derivative : 0.0f;
        derivatives += derivative;
        // The weight of a score goes to the root that gave it.
        float weight = query_weight * derivative;
#pragma unroll 1
        for (u32 r = first; r < last; r++) weights.row(r)[n] = r == best.root ? weight : 0.0f;
    }
    if (LOSS != LOSS_CROSS_ENTROPY) sum = block_reduce(sum, add);
    if (LOSS == LOSS_MARGIN) derivatives = block_reduce(derivatives, add);

    if (threadIdx.x > 0) return;
    float derivative = -derivatives;
    if (LOSS == LOSS_LOGISTIC) {
        sum += 0.5f * softplus(-positive.score);
        derivative = -0.5f * sigmoid(-positive.score);
    }
    if (LOSS == LOSS_CROSS_ENTROPY) {
        sum = total == 0.0f ? 0.0f : softplus(rest);
        derivative = total == 0.0f ? 0.0f : -sigmoid(rest);
    }
    // Also where there is no negative that would tell.
    if (positive.score != positive.score) sum = positive.score;
    losses.row(0)[q] = query_weight * sum;
    for (u32 r = first; r < last; r++)
        positive_weights.row(0)[r] = r == positive.root ? query_weight * derivative : 0.0f;
}
#define LOSS(name, KIND, ADVERSARIAL)                                                                           \
    KERNEL(256, name, (float temperature, float margin, const u32* root_offsets, Mat positives, Mat scores,     \
                       const u32* mask, u32 mask_words, Mat query_weights, MatMut losses,                       \
                       MatMut positive_weights, MatMut weights)) {                                              \
        loss<KIND, ADVERSARIAL>(temperature, margin, root_offsets, positives, scores, mask, mask_words,         \
                                query_weights, losses, positive_weights, weights);                              \
    }
LOSS(loss_logistic_adversarial, LOSS_LOGISTIC, true)
LOSS(loss_logistic_uniform, LOSS_LOGISTIC, false)
LOSS(loss_cross_entropy, LOSS_CROSS_ENTROPY, false)
LOSS(loss_margin_adversarial, LOSS_MARGIN, true)
LOSS(loss_margin_uniform, LOSS_MARGIN, false)
#undef LOSS
