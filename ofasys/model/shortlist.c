/* The best of many products, and the logarithm of the sum of the exponents of all of them, without ever writing them.

   x (n, D) in 8 bits plus 128, a row's scale beside it; a table (V, D) in 8 bits, a scale a row, laid out in blocks of
   32 rows as (V / 32, D / 4, 32, 4). 32-bit sums of 8-bit products are exact; the rest is in float32. */

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
    float *best;      /* (k) the largest scores, falling */
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

static void insert(Row *row, int k, float value, int32_t column) {
    int at = k - 1;
    for (; at > 0 && row->best[at - 1] < value; at--) {
        row->best[at] = row->best[at - 1];
        row->place[at] = row->place[at - 1];
    }
    row->best[at] = value;
    row->place[at] = column;
    row->least = row->best[k - 1];
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
            if (values[lane] > row->least) insert(row, k, values[lane], column + lane);
        }
    }
}

/* `count` rows of x with one block of the table, columns [lo, hi) of it */
static inline __attribute__((always_inline)) void block(
    const int count, const uint8_t *x, const float *x_scale, const int8_t *w, const float *scale,
    const int32_t *offset, int D, int k, int32_t first, int lo, int hi, Row *rows
) {
    __m512i left[TILE], right[TILE];
    for (int r = 0; r < count; r++) left[r] = right[r] = _mm512_setzero_si512();
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
        __m512i l = _mm512_sub_epi32(left[r], _mm512_loadu_si512(offset));
        __m512i h = _mm512_sub_epi32(right[r], _mm512_loadu_si512(offset + 16));
        take(rows + r, k, _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(l), by), _mm512_loadu_ps(scale)), first,
             (__mmask16)there);
        take(rows + r, k, _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(h), by), _mm512_loadu_ps(scale + 16)),
             first + 16, (__mmask16)(there >> 16));
    }
}

/* best (n, k) falling, place (n, k) and norm (n) of the columns [lo, hi), of which there are k at least.
   parts: room for threads * n * k * 8 bytes. -> 0, or 1 without memory */
int shortlist(const uint8_t *x, const float *x_scale, const int8_t *w, const float *scale, const int32_t *offset, int n,
              int D, long lo, long hi, int k, int threads, float *best, int32_t *place, float *norm) {
    long begin = lo / WIDE, end = (hi + WIDE - 1) / WIDE;
    Row *all = aligned_alloc(64, sizeof(Row) * (size_t)threads * n);
    float *values = malloc(sizeof(float) * (size_t)threads * n * k);
    int32_t *columns = malloc(sizeof(int32_t) * (size_t)threads * n * k);
    if (!all || !values || !columns) {
        free(all), free(values), free(columns);
        return 1;
    }
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
            for (int i = 0; i < k && other->best[i] > joined.least; i++)
                insert(&joined, k, other->best[i], other->place[i]);
        }
        float peak = _mm512_reduce_max_ps(joined.peak);
        __m512 sum = _mm512_mul_ps(joined.sum, exp2_of(_mm512_sub_ps(joined.peak, _mm512_set1_ps(peak))));
        norm[r] = (peak + log2f(_mm512_reduce_add_ps(sum))) / LOG2E;
        for (int i = 0; i < k; i++) best[(long)r * k + i] = joined.best[i] / LOG2E;
        memcpy(place + (long)r * k, joined.place, sizeof(int32_t) * k);
    }
    free(all), free(values), free(columns);
    return 0;
}
