/* One position more of every row, through all layers of a decoder, in float32; matrices are in float32 or bfloat16.

   R rows = B sources * group, D width, H heads of K numbers, F width inside the feed-forward, S places of a source,
   L room for positions. A matrix (O, I) is laid out as (O / 32, I, 32), one in bfloat16 as (O / 32, I / 2, 32, 2) where
   the processor multiplies pairs: what is multiplied is then in bfloat16 too. Each thread computes some columns, or
   rows. */

#include "vectors.h"

#define WIDE 32 /* columns of a block of a matrix */
#define TILE 8  /* rows that share a load of a matrix */

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

/* `count` rows of x (I) with one block: y (32) of each */
static inline __attribute__((always_inline)) void block(const int count, const float *x, int I, const void *w, long at,
                                                        const float *bias, float *y, int O, int which, const int half) {
    Floats left[TILE], right[TILE];
    for (int r = 0; r < count; r++) left[r] = *(const Floats *)bias, right[r] = *(const Floats *)(bias + LANES);
    if (count == 1) { /* or each product waits for the one before it */
        Floats l = {}, h = {}, l2 = {}, h2 = {}, l3 = {}, h3 = {};
        int i = 0;
        for (; i + 4 <= I; i += 4, at += 4 * WIDE) {
            left[0] += x[i] * read_at(w, at, half), right[0] += x[i] * read_at(w, at + LANES, half);
            l += x[i + 1] * read_at(w, at + WIDE, half), h += x[i + 1] * read_at(w, at + WIDE + LANES, half);
            l2 += x[i + 2] * read_at(w, at + 2 * WIDE, half), h2 += x[i + 2] * read_at(w, at + 2 * WIDE + LANES, half);
            l3 += x[i + 3] * read_at(w, at + 3 * WIDE, half), h3 += x[i + 3] * read_at(w, at + 3 * WIDE + LANES, half);
        }
        for (; i < I; i++, at += WIDE) l += x[i] * read_at(w, at, half), h += x[i] * read_at(w, at + LANES, half);
        left[0] += l + l2 + l3, right[0] += h + h2 + h3;
    } else {
        for (int i = 0; i < I; i++, at += WIDE) {
            Floats a = read_at(w, at, half), b = read_at(w, at + LANES, half);
            for (int r = 0; r < count; r++) {
                float one = x[(long)r * I + i];
                left[r] += one * a, right[r] += one * b;
            }
        }
    }
    for (int r = 0; r < count; r++) {
        *(Floats *)(y + (long)r * O) = activated(left[r], which);
        *(Floats *)(y + (long)r * O + LANES) = activated(right[r], which);
    }
}

#ifdef __AVX512BF16__
#define PAIRS 1

/* `count` rows of x (I) in bfloat16 with one block, two inputs at a time */
static inline __attribute__((always_inline)) void paired(const int count, const uint16_t *x, int I, const uint16_t *w,
                                                         const float *bias, float *y, int O, int which) {
    __m512 left[TILE], right[TILE], odd[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int r = 0; r < count; r++) left[r] = _mm512_loadu_ps(bias), right[r] = _mm512_loadu_ps(bias + LANES);
    int i = 0;
    if (count == 1) /* or each product waits for the one before it */
        for (; i + 4 <= I; i += 4, w += 4 * WIDE) {
            int32_t two[2];
            memcpy(two, x + i, 8);
            __m512bh one = (__m512bh)_mm512_set1_epi32(two[0]), other = (__m512bh)_mm512_set1_epi32(two[1]);
            left[0] = _mm512_dpbf16_ps(left[0], one, (__m512bh)_mm512_loadu_si512(w));
            right[0] = _mm512_dpbf16_ps(right[0], one, (__m512bh)_mm512_loadu_si512(w + WIDE));
            odd[0] = _mm512_dpbf16_ps(odd[0], other, (__m512bh)_mm512_loadu_si512(w + 2 * WIDE));
            odd[1] = _mm512_dpbf16_ps(odd[1], other, (__m512bh)_mm512_loadu_si512(w + 3 * WIDE));
        }
    for (; i < I; i += 2, w += 2 * WIDE) {
        __m512bh a = (__m512bh)_mm512_loadu_si512(w), b = (__m512bh)_mm512_loadu_si512(w + WIDE);
        for (int r = 0; r < count; r++) {
            int32_t two;
            memcpy(&two, x + (long)r * I + i, 4);
            __m512bh pair = (__m512bh)_mm512_set1_epi32(two);
            left[r] = _mm512_dpbf16_ps(left[r], pair, a), right[r] = _mm512_dpbf16_ps(right[r], pair, b);
        }
    }
    left[0] = _mm512_add_ps(left[0], odd[0]), right[0] = _mm512_add_ps(right[0], odd[1]);
    for (int r = 0; r < count; r++) {
        *(Floats *)(y + (long)r * O) = activated((Floats)left[r], which);
        *(Floats *)(y + (long)r * O + LANES) = activated((Floats)right[r], which);
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

#define TILES(RUN)                                                                                                    \
    for (int r = 0; r < R; r += TILE) switch (R - r) {                                                                \
        case 1: RUN(1); break;                                                                                        \
        case 2: RUN(2); break;                                                                                        \
        case 3: RUN(3); break;                                                                                        \
        case 4: RUN(4); break;                                                                                        \
        case 5: RUN(5); break;                                                                                        \
        case 6: RUN(6); break;                                                                                        \
        case 7: RUN(7); break;                                                                                        \
        default: RUN(8);                                                                                              \
        }

static inline __attribute__((always_inline)) void products(const float *x, int R, int I, Linear by, float *y, int O,
                                                           int which, const int half) {
#pragma omp for schedule(static)
    for (int o = 0; o < O; o += WIDE) {
#define PLAIN(count)                                                                                                  \
    block(count, x + (long)r * I, I, by.weight, (long)o * I, by.bias + o, y + (long)r * O + o, O, which, half)
        TILES(PLAIN)
    }
}

/* x (R, I) -> y (R, O). room: for R * I halves */
static void linear(const float *x, Linear by, float *y, int R, int I, int O, int which, int half, uint16_t *room) {
#if PAIRS
    if (half) {
        halve(x, room, R, I);
#pragma omp for schedule(static)
        for (int o = 0; o < O; o += WIDE) {
            const uint16_t *w = (const uint16_t *)by.weight + (long)o * I;
#define PAIRED(count) paired(count, room + (long)r * I, I, w, by.bias + o, y + (long)r * O + o, O, which)
            TILES(PAIRED)
        }
        return;
    }
#endif
    if (half) products(x, R, I, by, y, O, which, 1);
    else products(x, R, I, by, y, O, which, 0);
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
            linear(z.pre ? enter : x, layer->qkv, qkv, R, D, 3 * D, 0, half, halves);
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
            linear(y, layer->self_out, enter, R, D, D, 0, half, halves);
            join(x, enter, layer->self_inner, layer->self_norm, NULL, z.pre, R, D);
            if (layer->cross_k) {
                if (z.pre) norm(x, layer->cross_norm, enter, R, D);
                linear(z.pre ? enter : x, layer->query, qkv, R, D, D, 0, half, halves);
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
                linear(y, layer->cross_out, enter, R, D, D, 0, half, halves);
                join(x, enter, layer->cross_inner, layer->cross_norm, NULL, z.pre, R, D);
            }
            if (z.pre) norm(x, layer->ffn_norm, enter, R, D);
            linear(z.pre ? enter : x, layer->up, inner, R, D, F, z.activation, half, halves);
            if (layer->ffn_inner.gain) norm(inner, layer->ffn_inner, inner, R, F);
            linear(inner, layer->down, y, R, F, D, 0, half, halves);
            join(x, y, (Norm){}, layer->ffn_norm, layer->residual, z.pre, R, D);
        }
    }
}
