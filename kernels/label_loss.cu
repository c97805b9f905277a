// The losses of rows of scores whose labels are known. CPU twin: src/backend/cpu/label_loss.rs; launcher:
// src/backend/cuda/label_loss.rs.
#include "common.cuh"

/// A block a row, a thread every 256th score and every 256th label; turns the scores into their derivatives.
///
/// The row is read twice: for the softmax (the greatest score and the sum relative to it, together) or the sum of
/// the losses, then to be replaced. What the first reading brings to the cache serves the second. Floor: 8 bytes
/// a score. The cross-entropy, and what is `per_label`, counts all scores once for each label.
template <bool CROSS_ENTROPY>
__device__ __forceinline__ void label_loss(float smoothing, u32 per_label, const u32* offsets, const u32* labels,
                                           Mat row_weights, MatMut scores, MatMut losses) {
    u32 i = blockIdx.x, cols = scores.cols, begin = offsets[i], end = offsets[i + 1];
    float *x = scores.row(i), weight = row_weights.row(0)[i], n = (float)(end - begin);
    auto add = [](float a, float b) { return a + b; };

    // Sums over all scores: of the exponentials or losses, and of what the smoothing takes.
    float max = -INFINITY_F, total = 0.0f, smooth = 0.0f;
    if (CROSS_ENTROPY) {
        for (u32 e = threadIdx.x; e < cols; e += 256) max = fmaxf(max, x[e]);
        max = block_reduce(max, [](float a, float b) { return fmaxf(a, b); });
    }
    for (u32 e = threadIdx.x; e < cols; e += 256) {
        float score = x[e];
        total += CROSS_ENTROPY ? expf(score - max) : softplus(score);
        smooth += CROSS_ENTROPY ? max - score : -score;
    }
    float hits = 0.0f;
    for (u32 l = begin + threadIdx.x; l < end; l += 256) hits += CROSS_ENTROPY ? max - x[labels[l]] : -x[labels[l]];
    // After these everybody has read what is overwritten below.
    total = block_reduce(total, add);
    smooth = smoothing > 0.0f ? block_reduce(smooth, add) * smoothing / (float)cols : 0.0f;
    hits = block_reduce(hits, add) * (1.0f - smoothing);

    float mass = per_label ? n : 1.0f, scale = weight * (CROSS_ENTROPY ? n / total : mass);
    float lowered = weight * smoothing * mass / (float)cols;
    for (u32 e = threadIdx.x; e < cols; e += 256) {
        float score = x[e];
        x[e] = scale * (CROSS_ENTROPY ? expf(score - max) : sigmoid(score)) - lowered;
    }
    __syncthreads();
    for (u32 l = begin + threadIdx.x; l < end; l += 256) x[labels[l]] -= weight * (1.0f - smoothing);
    if (threadIdx.x == 0) {
        losses.row(0)[i] = weight * (mass * ((CROSS_ENTROPY ? logf(total) : total) + smooth) + hits);
    }
}
KERNEL(256, label_loss_cross_entropy, (float smoothing, u32 per_label, const u32* offsets, const u32* labels,
                                       Mat row_weights, MatMut scores, MatMut losses)) {
    label_loss<true>(smoothing, per_label, offsets, labels, row_weights, scores, losses);
}
KERNEL(256, label_loss_logistic, (float smoothing, u32 per_label, const u32* offsets, const u32* labels,
                                  Mat row_weights, MatMut scores, MatMut losses)) {
    label_loss<false>(smoothing, per_label, offsets, labels, row_weights, scores, losses);
}
