/* Attention of samples that lie end to end and its gradients, sample by sample and head by head: nothing is padded, and
   no score of one sample with another is made. After FlashAttention (Dao et al., 2022), scores are made again for the
   gradients, some queries at a time.

   Numbers are float32, or bfloat16 with sums, scores and what comes of them in float32, where the processor multiplies
   pairs. A unit is 32 bits: a number, or a pair of halves that lie beside each other. */

#include "vectors.h"

#include <stdlib.h>

#define QUERIES 64 /* at a time */
#define ROWS 8     /* of a product that share a load */

typedef struct {
    int samples, heads, width, causal, half, threads;
    float scale;
    const int64_t *q_starts, *k_starts; /* (samples + 1) first rows, and the end */
    long q_row, k_row, y_row;           /* numbers from a row to the next: of q, of k and v, of y */
    const void *q, *k, *v;
    void *y;
    float *spread;     /* (N, heads) logarithms of the sums of exp(score) */
    const void *dy;    /* gradients, laid out as what they are of */
    void *dq, *dk, *dv;
} Attention;

int attention_halves(void) {
#ifdef __AVX512BF16__
    return 1;
#else
    return 0;
#endif
}

static inline long up_to(long n, long step) { return (n + step - 1) / step * step; }

static inline __attribute__((always_inline)) Floats added(Floats sum, const uint32_t *a, Floats b, const int half) {
#ifdef __AVX512BF16__
    if (half) return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)*a), (__m512bh)b);
#endif
    float one;
    memcpy(&one, a, 4);
    return sum + all_of(one) * b;
}

/* c (rows, wide * 16) = or += a (rows, k units) b (k units, wide * 16). Not the one of `pairs.h`, whose right side is
   read many times and so laid out in groups first, and which adds biases and writes halves: here each right side is of
   one sample and head, is read where it lies or turned once, may be numbers too, and sums stay float32. */
static inline __attribute__((always_inline)) void tile(const int rows, const int wide, const int half, const uint32_t *a,
                                                       long row, long step, const uint32_t *b, long b_row, float *c,
                                                       long c_row, int k, int add) {
    Floats sums[ROWS][2];
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) sums[r][w] = add ? *(Floats *)(c + r * c_row + w * LANES) : (Floats){};
    for (int i = 0; i < k; i++) {
        Floats left = *(const Floats *)(b + i * b_row), right = left;
        if (wide > 1) right = *(const Floats *)(b + i * b_row + LANES);
        for (int r = 0; r < rows; r++) {
            sums[r][0] = added(sums[r][0], a + r * row + i * step, left, half);
            if (wide > 1) sums[r][1] = added(sums[r][1], a + r * row + i * step, right, half);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) *(Floats *)(c + r * c_row + w * LANES) = sums[r][w];
}

static inline __attribute__((always_inline)) void tiles(const int rows, const int half, const uint32_t *a, long row,
                                                        long step, const uint32_t *b, long b_row, float *c, long c_row,
                                                        int n, int k, int add) {
    int at = 0;
    for (; at + 2 * LANES <= n; at += 2 * LANES)
        tile(rows, 2, half, a, row, step, b + at, b_row, c + at, c_row, k, add);
    if (at < n) tile(rows, 1, half, a, row, step, b + at, b_row, c + at, c_row, k, add);
}

static inline __attribute__((always_inline)) void rows_of(const int half, const uint32_t *a, long row, long step,
                                                          const uint32_t *b, long b_row, float *c, long c_row, int m,
                                                          int n, int k, int add) {
    for (; m >= ROWS; m -= ROWS, a += ROWS * row, c += ROWS * c_row)
        tiles(ROWS, half, a, row, step, b, b_row, c, c_row, n, k, add);
#define LEFT(count) \
    case count: tiles(count, half, a, row, step, b, b_row, c, c_row, n, k, add); break;
    switch (m) { LEFT(7) LEFT(6) LEFT(5) LEFT(4) LEFT(3) LEFT(2) LEFT(1) }
#undef LEFT
}

/* c (m, n) = or += a (m, k) b (k, n) in units: a's are `row` apart from row to row and `step` from one to the next; n is
   a multiple of 16 */
static void product(int half, const uint32_t *a, long row, long step, const uint32_t *b, long b_row, float *c,
                    long c_row, int m, int n, int k, int add) {
    if (half)
        rows_of(1, a, row, step, b, b_row, c, c_row, m, n, k, add);
    else
        rows_of(0, a, row, step, b, b_row, c, c_row, m, n, k, add);
}

/* (rows, units) -> (units, to_row), zero from column `rows` on */
static void turn(const uint32_t *from, long from_row, int rows, int units, uint32_t *to, long to_row) {
    for (int u = 0; u < units; u++) {
        int r = 0;
        for (; r < rows; r++) to[u * to_row + r] = from[r * from_row + u];
        for (; r < to_row; r++) to[u * to_row + r] = 0;
    }
}

/* Rows of halves (rows, width) -> two of them beside each other (rows / 2, width) units; an odd last one beside zeros */
static void pairs(const uint16_t *from, long from_row, int rows, int width, uint32_t *to) {
    for (int r = 0; r < rows; r += 2, to += width)
        for (int i = 0; i < width; i += LANES) {
            Words first = __builtin_convertvector(*(const Halves *)(from + r * from_row + i), Words), second = {};
            if (r + 1 < rows)
                second = __builtin_convertvector(*(const Halves *)(from + (r + 1) * from_row + i), Words);
            *(Words *)(to + i) = first | second << 16;
        }
}

/* Floats (rows, n), `row` apart -> two rows beside each other, (rows / 2, n) units */
static void paired(const float *from, long row, int rows, int n, uint32_t *to) {
    for (int r = 0; r < rows; r += 2, to += n)
        for (int i = 0; i < n; i += LANES) {
            Words first = __builtin_convertvector(halves_of(*(const Floats *)(from + r * row + i)), Words), second = {};
            if (r + 1 < rows)
                second = __builtin_convertvector(halves_of(*(const Floats *)(from + (r + 1) * row + i)), Words);
            *(Words *)(to + i) = first | second << 16;
        }
}

/* A row of floats, in place, as halves */
static void narrowed(float *row, int n) {
    for (int i = 0; i < n; i += LANES) *(Halves *)((uint16_t *)row + i) = halves_of(*(const Floats *)(row + i));
}

static void put(void *to, long at, const float *from, int n, float factor, int half) {
    for (int i = 0; i < n; i += LANES) write_at(to, at + i, *(const Floats *)(from + i) * factor, half);
}

/* exp(score * scale - peak) of a row in place, zero from `seen` to n; returns their sum. peak is found, where it is not
   given, and left behind. */
static float weighed(float *row, int seen, int n, float scale, float *peak, int given) {
    static const Ints counting = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    Floats most = all_of(-INFINITY), sum = {};
    for (int i = seen / LANES * LANES; i < n; i += LANES) {
        Floats *at = (Floats *)(row + i);
        *at = either(counting + i < seen, *at, all_of(-INFINITY));
    }
    if (!given) {
        for (int i = 0; i < n; i += LANES) {
            Floats x = *(Floats *)(row + i);
            most = either(x > most, x, most);
        }
        *peak = most_of(most) * scale;
    }
    for (int i = 0; i < n; i += LANES) {
        Floats x = exp_of(*(Floats *)(row + i) * scale - *peak);
        if (i + LANES > seen) x = either(counting + i < seen, x, (Floats){});
        *(Floats *)(row + i) = x;
        sum += x;
    }
    return sum_of(sum);
}

typedef struct {
    const uint16_t *q, *k, *v; /* the first numbers of this sample and head */
    long q_at, k_at, y_at;     /* the same in numbers */
    int T, S, K, units;        /* queries, keys, width in numbers and in units */
    long room;                 /* S up to a multiple of 16 */
} Part;

static Part part_of(const Attention *z, int number) {
    int sample = number / z->heads, head = number % z->heads, size = z->half ? 1 : 2;
    int64_t first = z->q_starts[sample], seen = z->k_starts[sample];
    Part p = {.T = (int)(z->q_starts[sample + 1] - first), .S = (int)(z->k_starts[sample + 1] - seen), .K = z->width};
    p.q_at = first * z->q_row + (long)head * z->width;
    p.k_at = seen * z->k_row + (long)head * z->width;
    p.y_at = first * z->y_row + (long)head * z->width;
    p.q = (const uint16_t *)z->q + p.q_at * size;
    p.k = (const uint16_t *)z->k + p.k_at * size;
    p.v = (const uint16_t *)z->v + p.k_at * size;
    p.units = z->half ? p.K / 2 : p.K;
    p.room = up_to(p.S, LANES);
    return p;
}

/* Rows of numbers as the right side of a product over them: pairs of halves, or as they are */
static const uint32_t *right_side(int half, const uint16_t *rows, long row, int count, int width, uint32_t *room,
                                  long *out_row) {
    if (!half) {
        *out_row = row;
        return (const uint32_t *)rows;
    }
    pairs(rows, row, count, width, room);
    *out_row = width;
    return room;
}

static inline int units_of(int n, int half) { return half ? (n + 1) / 2 : n; }

static long work_of(const Attention *z, long longest) {
    return 6 * longest * z->width + 3 * (long)QUERIES * longest + 3 * (long)QUERIES * z->width;
}

static void forward(const Attention *z, int number, float *work) {
    Part p = part_of(z, number);
    int half = z->half, size = half ? 1 : 2, head = number % z->heads;
    long q_units = half ? z->q_row / 2 : z->q_row, k_units = half ? z->k_row / 2 : z->k_row, v_row, first;
    uint32_t *keys = (uint32_t *)work, *room = keys + p.room * p.K;
    float *scores = (float *)(room + p.room * p.K), *made = scores + QUERIES * p.room;
    first = z->q_starts[number / z->heads];
    if (p.S == 0) {
        memset(made, 0, sizeof(float) * (size_t)p.K);
        for (int t = 0; t < p.T; t++) {
            put(z->y, p.y_at + t * z->y_row, made, p.K, 0.0f, half);
            z->spread[(first + t) * z->heads + head] = 0.0f;
        }
        return;
    }
    turn((const uint32_t *)p.k, k_units, p.S, p.units, keys, p.room);
    const uint32_t *values = right_side(half, p.v, z->k_row, p.S, p.K, room, &v_row);
    for (int t = 0; t < p.T; t += QUERIES) {
        int some = p.T - t < QUERIES ? p.T - t : QUERIES;
        int n = z->causal && t + some < p.S ? t + some : p.S, wide = (int)up_to(n, LANES);
        float sums[QUERIES];
        product(half, (const uint32_t *)(p.q + t * z->q_row * size), q_units, 1, keys, p.room, scores, p.room, some,
                wide, p.units, 0);
        for (int i = 0; i < some; i++) {
            int seen = z->causal && t + i + 1 < n ? t + i + 1 : n;
            float peak, *row = scores + i * p.room;
            sums[i] = weighed(row, seen, wide, z->scale, &peak, 0);
            z->spread[(first + t + i) * z->heads + head] = peak + logf(sums[i]);
            if (half) narrowed(row, wide);
        }
        product(half, (const uint32_t *)scores, p.room, 1, values, v_row, made, p.K, some, p.K, units_of(n, half), 0);
        for (int i = 0; i < some; i++)
            put(z->y, p.y_at + (t + i) * z->y_row, made + i * p.K, p.K, 1.0f / sums[i], half);
    }
}

static void backward(const Attention *z, int number, float *work) {
    Part p = part_of(z, number);
    int half = z->half, size = half ? 1 : 2, head = number % z->heads;
    long q_units = half ? z->q_row / 2 : z->q_row, k_units = half ? z->k_row / 2 : z->k_row;
    long y_units = half ? z->y_row / 2 : z->y_row, first = z->q_starts[number / z->heads], k_row, q_row, dy_row;
    uint32_t *turned_k = (uint32_t *)work, *turned_v = turned_k + p.room * p.K, *room = turned_v + p.room * p.K;
    float *dk = (float *)(room + p.room * p.K), *dv = dk + p.room * p.K, *weights = dv + p.room * p.K;
    float *slopes = weights + QUERIES * p.room, *made = slopes + QUERIES * p.room;
    uint32_t *some_q = (uint32_t *)(made + QUERIES * p.K), *some_dy = some_q + QUERIES * p.K;
    uint32_t *beside = some_dy + QUERIES * p.K;
    memset(dk, 0, sizeof(float) * 2 * (size_t)(p.room * p.K));
    turn((const uint32_t *)p.k, k_units, p.S, p.units, turned_k, p.room);
    turn((const uint32_t *)p.v, k_units, p.S, p.units, turned_v, p.room);
    const uint32_t *keys = right_side(half, p.k, z->k_row, p.S, p.K, room, &k_row);
    const uint16_t *dy = (const uint16_t *)z->dy + p.y_at * size;
    for (int t = 0; t < p.T; t += QUERIES) {
        int some = p.T - t < QUERIES ? p.T - t : QUERIES;
        int n = z->causal && t + some < p.S ? t + some : p.S, wide = (int)up_to(n, LANES);
        const uint16_t *own_q = p.q + t * z->q_row * size, *own_dy = dy + t * z->y_row * size;
        product(half, (const uint32_t *)own_q, q_units, 1, turned_k, p.room, weights, p.room, some, wide, p.units, 0);
        product(half, (const uint32_t *)own_dy, y_units, 1, turned_v, p.room, slopes, p.room, some, wide, p.units, 0);
        for (int i = 0; i < some; i++) {
            int seen = z->causal && t + i + 1 < n ? t + i + 1 : n;
            float *w = weights + i * p.room, *s = slopes + i * p.room;
            weighed(w, seen, wide, z->scale, &z->spread[(first + t + i) * z->heads + head], 1);
            Floats sum = {};
            for (int j = 0; j < wide; j += LANES) sum += *(Floats *)(w + j) * *(Floats *)(s + j);
            float mean = sum_of(sum);
            for (int j = 0; j < wide; j += LANES)
                *(Floats *)(s + j) = *(Floats *)(w + j) * (*(Floats *)(s + j) - mean) * z->scale;
        }
        const uint32_t *queries = right_side(half, own_q, z->q_row, some, p.K, some_q, &q_row);
        const uint32_t *given = right_side(half, own_dy, z->y_row, some, p.K, some_dy, &dy_row);
        const uint32_t *left = (const uint32_t *)weights;
        long apart = p.room;
        int units = units_of(some, half);
        if (half) paired(weights, p.room, some, wide, beside), left = beside, apart = wide;
        product(half, left, 1, apart, given, dy_row, dv, p.K, n, p.K, units, 1);
        left = (const uint32_t *)slopes;
        if (half) paired(slopes, p.room, some, wide, beside), left = beside;
        product(half, left, 1, apart, queries, q_row, dk, p.K, n, p.K, units, 1);
        if (half)
            for (int i = 0; i < some; i++) narrowed(slopes + i * p.room, wide);
        product(half, (const uint32_t *)slopes, p.room, 1, keys, k_row, made, p.K, some, p.K, units_of(n, half), 0);
        for (int i = 0; i < some; i++)
            put(z->dq, p.q_at + (t + i) * z->q_row, made + i * p.K, p.K, 1.0f, half);
    }
    for (int s = 0; s < p.S; s++) {
        put(z->dk, p.k_at + s * z->k_row, dk + (long)s * p.K, p.K, 1.0f, half);
        put(z->dv, p.k_at + s * z->k_row, dv + (long)s * p.K, p.K, 1.0f, half);
    }
}

/* Returns 0, or 1 where there is no memory. width is a multiple of 16. */
int attention(const Attention *z, int back) {
    int parts = z->samples * z->heads, short_of = 0;
    long longest = 0;
    for (int b = 0; b < z->samples; b++) {
        long n = z->k_starts[b + 1] - z->k_starts[b];
        longest = n > longest ? n : longest;
    }
    size_t bytes = (size_t)up_to((work_of(z, up_to(longest, LANES)) + LANES) * 4, 64);
#pragma omp parallel num_threads(z->threads)
    {
        float *work = aligned_alloc(64, bytes);
        if (work == NULL) {
#pragma omp atomic write
            short_of = 1;
        }
#pragma omp for schedule(dynamic)
        for (int number = 0; number < parts; number++) {
            if (work == NULL) continue;
            if (back)
                backward(z, number, work);
            else
                forward(z, number, work);
        }
        free(work);
    }
    return short_of;
}
