/* The best of many products, and the logarithm of the sum of the exponents of all of them, without ever writing them.

   x (n, D) is rounded to 8 bits, a scale a row, and 128 is added; a table (V, D) is in 8 bits, a scale a row, laid out
   in blocks of 32 rows as (V / 32, D / 4, 32, 4). 32-bit sums of 8-bit products are exact; the rest is in float32. */

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#ifndef __AVX512VNNI__
#error "this processor has no 8-bit products of 512 bits"
#endif

#define WIDE 32 /* columns of a block */
#define LOG2E 1.44269504f /* within, scores are logarithms to base 2 */
#define TILE 8  /* rows of x that share a load of the table */

typedef struct {
    __m512 peak, sum; /* of each lane: its largest score, and the sum of exp(score - peak) */
    float *best;      /* (k) the largest scores, a heap whose least is first */
    int32_t *place;   /* (k) their columns */
    float least;
} Row;

/* 2 ** x of what is not above 0, to 8e-6 of it; the rest of x is at most a half */
static inline __m512 exp2_of(__m512 x) {
    __m512 n = _mm512_roundscale_ps(x, 8);
    x = _mm512_sub_ps(x, n);
    __m512 y = _mm512_set1_ps(9.67077e-3f);
    y = _mm512_fmadd_ps(y, x, _mm512_set1_ps(5.587554e-2f));
    y = _mm512_fmadd_ps(y, x, _mm512_set1_ps(2.4022212e-1f));
    y = _mm512_fmadd_ps(y, x, _mm512_set1_ps(6.9312726e-1f));
    y = _mm512_fmadd_ps(y, x, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(y, n);
}

/* A score takes the place of the least one, among the first `k` of a heap whose least is first */
static void replace(Row *row, int k, float value, int32_t column) {
    int at = 0;
    for (int below = 1; below < k; below = 2 * at + 1) {
        below += below + 1 < k && row->best[below + 1] < row->best[below];
        if (row->best[below] >= value) break;
        row->best[at] = row->best[below];
        row->place[at] = row->place[below];
        at = below;
    }
    row->best[at] = value;
    row->place[at] = column;
    row->least = row->best[0];
}

/* The heap, falling */
static void sort(Row *row, int k) {
    while (--k > 0) {
        float value = row->best[k], least = row->best[0];
        int32_t column = row->place[k], first = row->place[0];
        replace(row, k, value, column);
        row->best[k] = least;
        row->place[k] = first;
    }
}

/* 16 scores of a row, from `column` on, of which those in `there` count */
static inline __attribute__((always_inline)) void take(Row *row, int k, __m512 v, int32_t column, __mmask16 there) {
    __m512 peak = row->peak;
    if (_mm512_mask_cmp_ps_mask(there, v, peak, _CMP_GT_OQ)) {
        peak = _mm512_mask_max_ps(peak, there, v, peak);
        row->sum = _mm512_mul_ps(row->sum, exp2_of(_mm512_sub_ps(row->peak, peak)));
        row->peak = peak;
    }
    row->sum = _mm512_mask_add_ps(row->sum, there, row->sum, exp2_of(_mm512_sub_ps(v, peak)));
    __mmask16 better = _mm512_mask_cmp_ps_mask(there, v, _mm512_set1_ps(row->least), _CMP_GT_OQ);
    if (better) {
        float values[16];
        _mm512_storeu_ps(values, v);
        for (; better; better &= better - 1) {
            int lane = __builtin_ctz(better);
            if (values[lane] > row->least) replace(row, k, values[lane], column + lane);
        }
    }
}

/* `count` rows of x with one block of the table, columns [lo, hi) of it */
static inline __attribute__((always_inline)) void block(
    const int count, const uint8_t *x, const float *x_scale, const int8_t *w, const float *scale,
    const int32_t *offset, int D, int k, int32_t first, int lo, int hi, Row *rows
) {
    __m512i left[TILE], right[TILE];
    const __m512i none = _mm512_setzero_si512();
    for (int r = 0; r < count; r++) {
        left[r] = _mm512_sub_epi32(none, _mm512_loadu_si512(offset));
        right[r] = _mm512_sub_epi32(none, _mm512_loadu_si512(offset + 16));
    }
    for (int d = 0; d < D; d += 4, w += 4 * WIDE) {
        __m512i a = _mm512_loadu_si512(w), b = _mm512_loadu_si512(w + 64);
        for (int r = 0; r < count; r++) {
            int32_t four;
            memcpy(&four, x + (long)r * D + d, 4);
            __m512i all = _mm512_set1_epi32(four);
            left[r] = _mm512_dpbusd_epi32(left[r], all, a);
            right[r] = _mm512_dpbusd_epi32(right[r], all, b);
        }
    }
    uint32_t there = (uint32_t)(((1ull << hi) - 1) & ~((1ull << lo) - 1));
    for (int r = 0; r < count; r++) {
        __m512 by = _mm512_set1_ps(x_scale[r] * LOG2E);
        __m512i l = left[r], h = right[r];
        take(rows + r, k, _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(l), by), _mm512_loadu_ps(scale)), first,
             (__mmask16)there);
        take(rows + r, k, _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(h), by), _mm512_loadu_ps(scale + 16)),
             first + 16, (__mmask16)(there >> 16));
    }
}

/* Rounds x (n, width) to states (n, D), D being width or a little more, and their scales. */
static void rounded(const float *x, int n, int width, int D, uint8_t *states, float *scale) {
    for (int r = 0; r < n; r++, x += width, states += D) {
        float most = 1e-30f;
        for (int d = 0; d < width; d++) most = fabsf(x[d]) > most ? fabsf(x[d]) : most;
        scale[r] = most / 127.0f;
        for (int d = 0; d < width; d++) states[d] = (uint8_t)((int)rintf(x[d] / scale[r]) + 128);
        memset(states + width, 128, D - width);
    }
}

/* best (n, k) falling, place (n, k) and norm (n) of the columns [lo, hi), of which there are k at least.
   -> 0, or 1 without memory */
int shortlist(const float *floats, int width, const int8_t *w, const float *scale, const int32_t *offset, int n, int D,
              long lo, long hi, int k, int threads, float *best, int32_t *place, float *norm) {
    long begin = lo / WIDE, end = (hi + WIDE - 1) / WIDE;
    uint8_t *x = malloc((size_t)n * D);
    float *x_scale = malloc(sizeof(float) * n);
    Row *all = aligned_alloc(64, sizeof(Row) * (size_t)threads * n);
    float *values = malloc(sizeof(float) * (size_t)threads * n * k);
    int32_t *columns = malloc(sizeof(int32_t) * (size_t)threads * n * k);
    if (!x || !x_scale || !all || !values || !columns) {
        free(x), free(x_scale), free(all), free(values), free(columns);
        return 1;
    }
    rounded(floats, n, width, D, x, x_scale);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) {
        Row *rows = all + (long)t * n;
        for (int r = 0; r < n; r++) {
            long at = ((long)t * n + r) * k;
            rows[r].peak = _mm512_set1_ps(-1e30f);
            rows[r].sum = _mm512_setzero_ps();
            rows[r].best = values + at;
            rows[r].place = columns + at;
            rows[r].least = -INFINITY;
            for (int i = 0; i < k; i++) rows[r].best[i] = -INFINITY, rows[r].place[i] = (int32_t)lo;
        }
        long from = begin + (end - begin) * t / threads, to = begin + (end - begin) * (t + 1) / threads;
        for (long b = from; b < to; b++) {
            long first = b * WIDE;
            int left = lo > first ? (int)(lo - first) : 0, right = hi < first + WIDE ? (int)(hi - first) : WIDE;
            for (int r = 0; r < n; r += TILE) {
                const uint8_t *own = x + (long)r * D;
                const int8_t *part = w + first * D;
#define RUN(count)                                                                                                    \
    block(count, own, x_scale + r, part, scale + first, offset + first, D, k, (int32_t)first, left, right, rows + r)
                switch (n - r) {
                case 1: RUN(1); break;
                case 2: RUN(2); break;
                case 3: RUN(3); break;
                case 4: RUN(4); break;
                case 5: RUN(5); break;
                case 6: RUN(6); break;
                case 7: RUN(7); break;
                default: RUN(8);
                }
            }
        }
    }
    for (int r = 0; r < n; r++) {
        Row joined = all[r];
        for (int t = 1; t < threads; t++) {
            Row *other = all + (long)t * n + r;
            __m512 peak = _mm512_max_ps(joined.peak, other->peak);
            joined.sum = _mm512_add_ps(_mm512_mul_ps(joined.sum, exp2_of(_mm512_sub_ps(joined.peak, peak))),
                                       _mm512_mul_ps(other->sum, exp2_of(_mm512_sub_ps(other->peak, peak))));
            joined.peak = peak;
            for (int i = 0; i < k; i++)
                if (other->best[i] > joined.least) replace(&joined, k, other->best[i], other->place[i]);
        }
        sort(&joined, k);
        float peak = _mm512_reduce_max_ps(joined.peak);
        __m512 sum = _mm512_mul_ps(joined.sum, exp2_of(_mm512_sub_ps(joined.peak, _mm512_set1_ps(peak))));
        norm[r] = (peak + log2f(_mm512_reduce_add_ps(sum))) / LOG2E;
        for (int i = 0; i < k; i++) best[(long)r * k + i] = joined.best[i] / LOG2E;
        memcpy(place + (long)r * k, joined.place, sizeof(int32_t) * k);
    }
    free(x), free(x_scale), free(all), free(values), free(columns);
    return 0;
}
