/* One position more of every row, through all layers of a decoder, in float32; matrices are in float32 or bfloat16.

   R rows = B sources * group, D width, H heads of K numbers, F width inside the feed-forward, S places of a source,
   L room for positions. A matrix (O, I) is laid out as (O / 32, I, 32), one in bfloat16 as (O / 32, I / 2, 32, 2) where
   the processor multiplies pairs: what is multiplied is then in bfloat16 too. Each thread computes some columns, or
   rows. */

#include "vectors.h"

#define WIDE 32 /* columns of a block of a matrix */
#define TILE 8  /* rows that share a load of a matrix */
#define SOME 4  /* blocks that a single row goes through at once */

typedef struct {
    const float *gain, *bias; /* NULL: no norm */
    float epsilon;
} Norm;

typedef struct {
    const void *weight;
    const float *bias;
} Linear;

typedef struct {
    Norm self_norm, cross_norm, ffn_norm, self_inner, cross_inner, ffn_inner;
    Linear qkv, self_out, query, cross_out, up, down;
    const float *residual;         /* (D) factors of the stream at the feed-forward; NULL: ones */
    float *kv;                     /* (2, room, L, H, K), of which R rows are in use */
    const void *cross_k, *cross_v; /* (B, H, S, K), as matrices are in float32 or bfloat16; NULL: no source */
} Layer;

typedef struct {
    int layers, R, D, H, F, S, L, group, filled, pre, activation, half, threads, room, left;
    float scale;
    const int64_t *skip, *lengths; /* (R) first places that hold nothing, or, `left`, that lack at the end; (B) places
                                      of a source; NULL: none, all S */
} Sizes;

/* Each number is summed in one order, so that a row is the same whatever stands beside it. One row alone goes through
   several blocks at once, or each product would wait for the one before it. */

/* `count` rows of x (I) with some blocks, one of the two 1: y (32 of each block) of each row */
static inline __attribute__((always_inline)) void block(const int count, const int blocks, const float *x, int I,
                                                        const void *w, long at, const float *bias, float *y, int O,
                                                        int which, const int half) {
    Floats left[TILE], right[TILE];
    for (int e = 0; e < count * blocks; e++) {
        left[e] = *(const Floats *)(bias + e % blocks * WIDE);
        right[e] = *(const Floats *)(bias + e % blocks * WIDE + LANES);
    }
    for (int i = 0; i < I; i++, at += WIDE)
        for (int b = 0; b < blocks; b++) {
            long here = at + (long)b * I * WIDE;
            Floats l = read_at(w, here, half), h = read_at(w, here + LANES, half);
            for (int r = 0; r < count; r++) {
                float one = x[(long)r * I + i];
                left[r * blocks + b] += one * l, right[r * blocks + b] += one * h;
            }
        }
    for (int e = 0; e < count * blocks; e++) {
        float *to = y + (long)(e / blocks) * O + e % blocks * WIDE;
        *(Floats *)to = activated(left[e], which), *(Floats *)(to + LANES) = activated(right[e], which);
    }
}

#ifdef __AVX512BF16__
#define PAIRS 1

/* As `block`, of rows in bfloat16, two inputs at a time */
static inline __attribute__((always_inline)) void paired(const int count, const int blocks, const uint16_t *x, int I,
                                                         const uint16_t *w, const float *bias, float *y, int O,
                                                         int which) {
    __m512 left[TILE], right[TILE];
    for (int e = 0; e < count * blocks; e++) {
        left[e] = _mm512_loadu_ps(bias + e % blocks * WIDE);
        right[e] = _mm512_loadu_ps(bias + e % blocks * WIDE + LANES);
    }
    for (int i = 0; i < I; i += 2, w += 2 * WIDE)
        for (int b = 0; b < blocks; b++) {
            const uint16_t *here = w + (long)b * I * WIDE;
            __m512bh l = (__m512bh)_mm512_loadu_si512(here), h = (__m512bh)_mm512_loadu_si512(here + WIDE);
            for (int r = 0; r < count; r++) {
                int32_t two;
                memcpy(&two, x + (long)r * I + i, 4);
                __m512bh pair = (__m512bh)_mm512_set1_epi32(two);
                int e = r * blocks + b;
                left[e] = _mm512_dpbf16_ps(left[e], pair, l), right[e] = _mm512_dpbf16_ps(right[e], pair, h);
            }
        }
    for (int e = 0; e < count * blocks; e++) {
        float *to = y + (long)(e / blocks) * O + e % blocks * WIDE;
        *(Floats *)to = activated((Floats)left[e], which);
        *(Floats *)(to + LANES) = activated((Floats)right[e], which);
    }
}

static void halve(const float *x, uint16_t *to, int R, int I) {
#pragma omp for schedule(static)
    for (int r = 0; r < R; r++)
        for (int i = 0; i < I; i += LANES) {
            __m256bh own = _mm512_cvtneps_pbh(_mm512_loadu_ps(x + (long)r * I + i));
            memcpy(to + (long)r * I + i, &own, 32);
        }
}
#else
#define PAIRS 0
#endif

/* Whether matrices in bfloat16 are laid out in pairs. */
int decoder_pairs(void) { return PAIRS; }

/* Rows in tiles with one block each, or the last row alone with all the blocks of a thread's turn */
#define EACH(RUN, count) for (int b = 0; b < blocks; b++) RUN(count, 1, o + b * WIDE)
#define TILES(RUN)                                                                                                    \
    for (int r = 0; r < R; r += TILE) switch (R - r) {                                                                \
        case 1:                                                                                                       \
            switch (blocks) {                                                                                         \
            case 4: RUN(1, 4, o); break;                                                                              \
            case 3: RUN(1, 3, o); break;                                                                              \
            case 2: RUN(1, 2, o); break;                                                                              \
            default: RUN(1, 1, o);                                                                                    \
            }                                                                                                         \
            break;                                                                                                    \
        case 2: EACH(RUN, 2); break;                                                                                  \
        case 3: EACH(RUN, 3); break;                                                                                  \
        case 4: EACH(RUN, 4); break;                                                                                  \
        case 5: EACH(RUN, 5); break;                                                                                  \
        case 6: EACH(RUN, 6); break;                                                                                  \
        case 7: EACH(RUN, 7); break;                                                                                  \
        default: EACH(RUN, 8);                                                                                        \
        }

/* Blocks of O columns that a thread takes at once: a single row wants some, all threads want one */
static int at_once(int R, int O, int threads) {
    int each = O / WIDE / threads;
    return R % TILE != 1 || each < 1 ? 1 : each < SOME ? each : SOME;
}

static inline __attribute__((always_inline)) void products(const float *x, int R, int I, Linear by, float *y, int O,
                                                           int which, int step, const int half) {
#pragma omp for schedule(static)
    for (int o = 0; o < O; o += step * WIDE) {
        int blocks = O - o < step * WIDE ? (O - o) / WIDE : step;
#define PLAIN(count, some, c)                                                                                         \
    block(count, some, x + (long)r * I, I, by.weight, (long)(c) * I, by.bias + (c), y + (long)r * O + (c), O, which,  \
          half)
        TILES(PLAIN)
    }
}

/* x (R, I) -> y (R, O). room: for R * I halves */
static void linear(const float *x, Linear by, float *y, int I, int O, int which, const Sizes *z, uint16_t *room) {
    int R = z->R, step = at_once(R, O, z->threads);
#if PAIRS
    if (z->half) {
        halve(x, room, R, I);
#pragma omp for schedule(static)
        for (int o = 0; o < O; o += step * WIDE) {
            int blocks = O - o < step * WIDE ? (O - o) / WIDE : step;
            const uint16_t *w = by.weight;
#define PAIRED(count, some, c)                                                                                        \
    paired(count, some, room + (long)r * I, I, w + (long)(c) * I, by.bias + (c), y + (long)r * O + (c), O, which)
            TILES(PAIRED)
        }
        return;
    }
#endif
    if (z->half) products(x, R, I, by, y, O, which, step, 1);
    else products(x, R, I, by, y, O, which, step, 0);
}

static void norm_row(const float *x, Norm by, float *y, int D) {
    Floats total = {}, square = {};
    for (int i = 0; i < D; i += LANES) total += *(const Floats *)(x + i);
    float mean = sum_of(total) / D;
    for (int i = 0; i < D; i += LANES) {
        Floats own = *(const Floats *)(x + i) - mean;
        square += own * own;
    }
    float by_deviation = 1.0f / sqrtf(sum_of(square) / D + by.epsilon);
    for (int i = 0; i < D; i += LANES)
        *(Floats *)(y + i) =
            (*(const Floats *)(x + i) - mean) * by_deviation * *(const Floats *)(by.gain + i) +
            *(const Floats *)(by.bias + i);
}

static void norm(const float *x, Norm by, float *y, int R, int D) {
#pragma omp for schedule(static)
    for (int r = 0; r < R; r++) norm_row(x + (long)r * D, by, y + (long)r * D, D);
}

/* The stream after a branch: its own norm, the sum, and the norm after it. */
static void join(float *x, float *branch, Norm inner, Norm outer, const float *residual, int pre, int R, int D) {
#pragma omp for schedule(static)
    for (int r = 0; r < R; r++) {
        float *own = x + (long)r * D, *more = branch + (long)r * D;
        if (inner.gain) norm_row(more, inner, more, D);
        for (int i = 0; i < D; i += LANES) {
            Floats stream = *(Floats *)(own + i);
            if (residual) stream *= *(const Floats *)(residual + i);
            *(Floats *)(own + i) = stream + *(Floats *)(more + i);
        }
        if (!pre) norm_row(own, outer, own, D);
    }
}

/* One head of one row: q (K) over places [from, to), whose keys and values, halves or not, begin at `at` and are
   `stride` numbers apart -> y (K). scores: room for to - from + 15 numbers */
static inline __attribute__((always_inline)) void head(const float *q, const void *k, const void *v, const int half,
                                                       long at, long stride, int from, int to, int K, float scale,
                                                       float *scores, float *y) {
    float peak = -INFINITY;
    for (int s = from; s < to; s++) {
        Floats sum = {};
        for (int i = 0; i < K; i += LANES) sum += *(const Floats *)(q + i) * read_at(k, at + s * stride + i, half);
        float score = sum_of(sum) * scale;
        scores[s - from] = score;
        if (score > peak) peak = score;
    }
    int n = to - from;
    for (int s = n; s % LANES; s++) scores[s] = -INFINITY;
    Floats total = {};
    for (int s = 0; s < n; s += LANES) {
        Floats own = *(Floats *)(scores + s);
        Floats weight = either(own == -INFINITY, all_of(0.0f), exp_of(own - peak));
        total += weight;
        *(Floats *)(scores + s) = weight;
    }
    float by = 1.0f / sum_of(total);
    for (int i = 0; i < K; i += LANES) {
        Floats sum = {}, more = {};
        long value = at + from * stride + i;
        int s = 0;
        for (; s + 2 <= n; s += 2, value += 2 * stride) {
            sum += scores[s] * read_at(v, value, half);
            more += scores[s + 1] * read_at(v, value + stride, half);
        }
        if (s < n) sum += scores[s] * read_at(v, value, half);
        *(Floats *)(y + i) = (sum + more) * by;
    }
}

/* x (R, D): what the first layer reads -> what the last one gives. work: room for
   R * (5 D + 2 F) + threads * (max(L, S) + 16) numbers; 2 F is D at least. A row that may see nothing of its source
   gets zeros of it. */
void decoder_step(const Layer *layers, const Sizes *sizes, float *x, float *work) {
    const Sizes z = *sizes;
    const int R = z.R, D = z.D, H = z.H, F = z.F, K = D / H, half = z.half;
    const long most = (z.L > z.S ? z.L : z.S) + LANES;
    float *enter = work, *qkv = enter + (long)R * D, *y = qkv + 3L * R * D, *inner = y + (long)R * D;
    uint16_t *halves = (uint16_t *)(inner + (long)R * F);
    float *rooms = inner + 2L * R * F;
#pragma omp parallel num_threads(z.threads)
    {
        int me = 0;
#ifdef _OPENMP
        extern int omp_get_thread_num(void);
        me = omp_get_thread_num();
#endif
        float *scores = rooms + me * most;
        for (int n = 0; n < z.layers; n++) {
            const Layer *layer = layers + n;
            if (z.pre) norm(x, layer->self_norm, enter, R, D);
            linear(z.pre ? enter : x, layer->qkv, qkv, D, 3 * D, 0, &z, halves);
#pragma omp for schedule(static)
            for (int at = 0; at < R * H; at++) {
                int r = at / H, h = at % H;
                const float *own = qkv + (long)r * 3 * D + (long)h * K;
                float *k = layer->kv + (long)r * z.L * D + (long)h * K, *v = k + (long)z.room * z.L * D;
                int from = z.skip ? (int)z.skip[r] : 0, last = z.left ? z.filled - from : z.filled;
                memcpy(k + (long)last * D, own + D, sizeof(float) * K);
                memcpy(v + (long)last * D, own + 2 * D, sizeof(float) * K);
                if (z.left) from = 0;
                head(own, k, v, 0, 0, D, from > last ? last : from, last + 1, K, z.scale, scores,
                     y + (long)r * D + (long)h * K);
            }
            linear(y, layer->self_out, enter, D, D, 0, &z, halves);
            join(x, enter, layer->self_inner, layer->self_norm, NULL, z.pre, R, D);
            if (layer->cross_k) {
                if (z.pre) norm(x, layer->cross_norm, enter, R, D);
                linear(z.pre ? enter : x, layer->query, qkv, D, D, 0, &z, halves);
#pragma omp for schedule(static)
                for (int at = 0; at < R * H; at++) {
                    int r = at / H, h = at % H, b = r / z.group;
                    long begin = ((long)b * H + h) * z.S * K;
                    int end = z.lengths ? (int)z.lengths[b] : z.S;
                    float *to = y + (long)r * D + (long)h * K;
                    const float *q = qkv + (long)r * D + (long)h * K;
                    if (!end) memset(to, 0, sizeof(float) * K);
                    else if (half)
                        head(q, layer->cross_k, layer->cross_v, 1, begin, K, 0, end, K, z.scale, scores, to);
                    else head(q, layer->cross_k, layer->cross_v, 0, begin, K, 0, end, K, z.scale, scores, to);
                }
                linear(y, layer->cross_out, enter, D, D, 0, &z, halves);
                join(x, enter, layer->cross_inner, layer->cross_norm, NULL, z.pre, R, D);
            }
            if (z.pre) norm(x, layer->ffn_norm, enter, R, D);
            linear(z.pre ? enter : x, layer->up, inner, D, F, z.activation, &z, halves);
            if (layer->ffn_inner.gain) norm(inner, layer->ffn_inner, inner, R, F);
            linear(inner, layer->down, y, F, D, 0, &z, halves);
            join(x, y, (Norm){}, layer->ffn_norm, layer->residual, z.pre, R, D);
        }
    }
}
