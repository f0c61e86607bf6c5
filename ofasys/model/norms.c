/* Norms of rows and what joins a branch to the stream, forward and backward, each in one pass over what it reads.
   Numbers are float32 or bfloat16 as they come; what is computed of them is in float32. */

#include "vectors.h"

#define ROWS 64 /* whose gradients of gains and biases are summed together, whatever the number of threads */

/* y = (x - mean) / deviation * gain + bias of each row; D is a multiple of 16. mean, factor (rows): of backward. */
void norm_forward(long rows, long D, int x_half, int y_half, int threads, float epsilon, const void *x,
                  const float *gain, const float *bias, void *y, float *mean, float *factor) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long r = 0; r < rows; r++) {
        Floats sum = {}, square = {};
        for (long i = 0; i < D; i += LANES) sum += read_at(x, r * D + i, x_half);
        float middle = sum_of(sum) / (float)D;
        for (long i = 0; i < D; i += LANES) {
            Floats far = read_at(x, r * D + i, x_half) - middle;
            square += far * far;
        }
        float scale = 1.0f / sqrtf(sum_of(square) / (float)D + epsilon);
        for (long i = 0; i < D; i += LANES) {
            Floats far = (read_at(x, r * D + i, x_half) - middle) * scale;
            write_at(y, r * D + i, far * *(const Floats *)(gain + i) + *(const Floats *)(bias + i), y_half);
        }
        mean[r] = middle, factor[r] = scale;
    }
}

/* dx of each row; sums (2, D) of gains and biases out of parts (rows / 64, 2, D). */
void norm_backward(long rows, long D, int x_half, int y_half, int threads, const void *x, const float *gain,
                   const void *dy, const float *mean, const float *factor, void *dx, float *parts, float *sums) {
    long chunks = (rows + ROWS - 1) / ROWS;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long c = 0; c < chunks; c++) {
        float *gains = parts + c * 2 * D, *biases = gains + D;
        long end = (c + 1) * ROWS < rows ? (c + 1) * ROWS : rows;
        memset(gains, 0, sizeof(float) * 2 * (size_t)D);
        for (long r = c * ROWS; r < end; r++) {
            Floats along = {}, across = {};
            for (long i = 0; i < D; i += LANES) {
                Floats far = (read_at(x, r * D + i, x_half) - mean[r]) * factor[r], d = read_at(dy, r * D + i, y_half);
                *(Floats *)(gains + i) += d * far;
                *(Floats *)(biases + i) += d;
                d *= *(const Floats *)(gain + i);
                along += d, across += d * far;
            }
            float one = sum_of(along) / (float)D, two = sum_of(across) / (float)D;
            for (long i = 0; i < D; i += LANES) {
                Floats far = (read_at(x, r * D + i, x_half) - mean[r]) * factor[r];
                Floats d = read_at(dy, r * D + i, y_half) * *(const Floats *)(gain + i);
                write_at(dx, r * D + i, (d - one - far * two) * factor[r], x_half);
            }
        }
    }
    memset(sums, 0, sizeof(float) * 2 * (size_t)D);
    for (long c = 0; c < chunks; c++)
        for (long i = 0; i < 2 * D; i += LANES) *(Floats *)(sums + i) += *(const Floats *)(parts + c * 2 * D + i);
}

static inline Floats kept(const int16_t *draws, long at, int least, float scale) {
    typedef int16_t Shorts __attribute__((vector_size(32), aligned(2)));
    return either(__builtin_convertvector(*(const Shorts *)(draws + at), Ints) >= least, all_of(scale), (Floats){});
}

/* out = x + branch * scale where a draw is `least` or more; back: out is the gradient, and branch becomes its own. count
   is a multiple of 16. */
void join(long count, int half, int back, int threads, int least, float scale, const float *x, void *branch,
          const int16_t *draws, float *out) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long i = 0; i < count; i += LANES) {
        Floats factor = kept(draws, i, least, scale);
        if (back)
            write_at(branch, i, *(const Floats *)(out + i) * factor, half);
        else
            *(Floats *)(out + i) = *(const Floats *)(x + i) + read_at(branch, i, half) * factor;
    }
}
