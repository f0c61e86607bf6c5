/* A vocabulary's scores, their cross-entropies, and the gradients of states and of the table, in two passes over the
   table. Scores are kept in bfloat16, 32 tokens of all states after another, (panels, n, 32); sums are in float32. */

#include "pairs.h"

#define BLOCK 4 /* panels whose gradients are made, and used up, at a time */
#define PARTS 8 /* of the table, summed apart: with up to so many threads the sums are the same whatever their number */

typedef struct {
    long n, width, size; /* states, numbers of one, tokens */
    int threads, write, add; /* write: gradients; add: that of the table to what is there */
    float smoothing;
    const uint16_t *x;     /* (n, width) */
    const float *table;    /* (size, width) */
    const int64_t *labels; /* (n) */
    const float *factors;  /* (n) of gradients, or none */
    uint16_t *scores;      /* (panels, n, 32) */
    float *losses;         /* (n) */
    uint8_t *correct;      /* (n) whether none is above the label's */
    float *dx;             /* (n, width), or none */
    float *dtable;         /* (size, width), or none */
} Head;

/* Of some scores of a state, in 16 lanes: the largest, the sums of exp(score - largest), and those of scores */
typedef struct {
    Floats most, sum, total;
} Seen;

#define NEVER -1e38f    /* the score of what is no token: its exp is nothing beside any other's */
#define LOG 1.44269504f /* of e, to the base of 2 */

int head_halves(void) { return multiplies_pairs(); }

/* 2 to the x, to 1e-7 of it or, where a few bits of it are kept, to 3e-6 (minimax polynomials) */
static inline __attribute__((always_inline)) Floats two_to(Floats x, const int few) {
#ifdef __AVX512F__
    Floats n = (Floats)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), f = x - n, y;
    if (few)
        y = ((0.0095701008f * f + 0.0559178628f) * f + 0.240247449f) * f + 0.693121814f;
    else
        y = (((0.00132764709f * f + 0.00967554162f) * f + 0.0555071328f) * f + 0.240221197f) * f + 0.693146967f;
    return (Floats)_mm512_scalef_ps((__m512)(y * f + 1.0f), (__m512)n);
#else
    (void)few;
    return exp_of(x * 0.693147181f);
#endif
}

static inline Floats larger_of(Floats a, Floats b) {
#ifdef __AVX512F__
    return (Floats)_mm512_max_ps((__m512)a, (__m512)b);
#else
    return either(a > b, a, b);
#endif
}

static inline int any_above(Floats a, Floats b) {
#ifdef __AVX512F__
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ) != 0;
#else
    return most_of(either(a > b, all_of(1.0f), (Floats){})) > 0.0f;
#endif
}

static inline float score_of(const Head *z, long r, long token) {
    uint32_t bits = (uint32_t)z->scores[(token / WIDE * z->n + r) * WIDE + token % WIDE] << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/* Sixteen rows of the table from `at` on, as columns; zeros where it has ended */
static void tokens_of(const Head *z, long at, Words *to, float *ending) {
    const float *from = ending;
    long left = z->size > at ? z->size - at : 0;
    if (left >= LANES) {
        from = z->table + at * z->width;
    } else {
        memset(ending, 0, sizeof(float) * (size_t)(LANES * z->width));
        if (left) memcpy(ending, z->table + at * z->width, sizeof(float) * (size_t)(left * z->width));
    }
    columns_of(from, z->width, to);
}

static void scores_of(const Head *z, long panel, Words *room, float *ending, Seen *seen) {
    static const Ints own = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    long units = z->width / 2, at = panel * WIDE;
    uint16_t *scores = z->scores + panel * z->n * WIDE;
    Target to = {scores, WIDE, 1, 0, 0, NULL};
    int left = z->size - at < WIDE ? (int)(z->size - at) : WIDE;
    for (int g = 0; g < 2; g++) tokens_of(z, at + g * LANES, room + g * units, ending);
    for (long r = 0; r < z->n; r += ROWS)
        some(z->n - r < ROWS ? (int)(z->n - r) : ROWS, 2, (const uint32_t *)(z->x + r * z->width), units, 1, room,
             units, units, &to, r, 0);
    for (long r = 0; r < z->n; r++) {
        Floats a = read_at(scores, r * WIDE, 1), b = read_at(scores, r * WIDE + LANES, 1), most = seen[r].most;
        if (z->smoothing > 0.0f) seen[r].total += a + b; /* zeros of what is no token */
        if (left < WIDE) {
            a = either(own < left, a, all_of(NEVER)), b = either(own + LANES < left, b, all_of(NEVER));
            write_at(scores, r * WIDE, a, 1), write_at(scores, r * WIDE + LANES, b, 1);
        }
        Floats larger = larger_of(a, b);
        if (any_above(larger, most)) {
            larger = larger_of(larger, most);
            seen[r].sum *= two_to((most - larger) * LOG, 0);
            seen[r].most = most = larger;
        }
        seen[r].sum += two_to((a - most) * LOG, 0) + two_to((b - most) * LOG, 0);
    }
}

/* The loss of a state; peak and factor: its gradients are exp(score - peak) * factor - shift, and less at the label */
static void judged(const Head *z, long r, const Seen *seen, int parts, float *peak, float *factor) {
    Floats most = seen[r].most, sum = {}, total = {};
    for (int p = 1; p < parts; p++) most = larger_of(most, seen[p * z->n + r].most);
    float top = most_of(most), score = score_of(z, r, z->labels[r]), own = 1.0f - z->smoothing;
    for (int p = 0; p < parts; p++) {
        const Seen *one = seen + p * z->n + r;
        sum += one->sum * two_to((one->most - top) * LOG, 0), total += one->total;
    }
    float all = sum_of(sum);
    z->losses[r] = top + logf(all) - own * score - z->smoothing * sum_of(total) / (float)z->size;
    z->correct[r] = score >= top;
    peak[r] = top, factor[r] = (z->factors == NULL ? 1.0f : z->factors[r]) / all;
}

/* The gradients of the scores of some tokens, `at` and on, (n, BLOCK * 32) */
static void slopes_of(const Head *z, long at, long panels, const float *peak, const float *factor, uint16_t *slopes) {
    const long row = BLOCK * WIDE;
    for (long r = 0; r < z->n; r++) {
        float by = z->factors == NULL ? 1.0f : z->factors[r], shift = by * z->smoothing / (float)z->size;
        long label = z->labels[r] - at;
        for (long j = 0; j < panels; j++)
            for (long i = 0; i < WIDE; i += LANES) {
                Floats x = read_at(z->scores, ((at / WIDE + j) * z->n + r) * WIDE + i, 1);
                write_at(slopes, r * row + j * WIDE + i, two_to((x - peak[r]) * LOG, 1) * factor[r] - shift, 1);
            }
        if (label >= 0 && label < panels * WIDE) {
            float own = expf(score_of(z, r, z->labels[r]) - peak[r]) * factor[r] - shift - by * (1.0f - z->smoothing);
            Halves halves = halves_of(all_of(own));
            memcpy(slopes + r * row + label, &halves, sizeof(uint16_t));
        }
    }
}

typedef struct {
    uint16_t *slopes; /* (n, BLOCK * 32) */
    Words *turned;    /* the same, summed over n: (groups, n / 2, 16) */
    Words *table;     /* of 32 numbers of a state, summed over tokens */
} Room;

/* What some tokens add to dx (n, width), and the gradients of their rows of the table. right: x, summed over n */
static void gradients_of(const Head *z, long block, const float *peak, const float *factor,
                         const Words *right, Room *room, float *dx) {
    const long row = BLOCK * WIDE, pairs = parts_of(z->n, 2);
    long at = block * row, count = z->size - at < row ? z->size - at : row, panels = parts_of(count, WIDE);
    slopes_of(z, at, panels, peak, factor, room->slopes);
    if (dx != NULL) {
        Target to = {dx, z->width, 0, 1, 0, NULL};
        for (long d = 0; d < z->width; d += WIDE) {
            int groups = z->width - d < WIDE ? 1 : 2;
            rows_of(z->table + at * z->width, z->width, 0, count, d, groups, 0, room->table, row / 2, NULL);
            for (long r = 0; r < z->n; r += ROWS)
                some(z->n - r < ROWS ? (int)(z->n - r) : ROWS, groups, (const uint32_t *)(room->slopes + r * row),
                     row / 2, 1, room->table, row / 2, parts_of(count, 2), &to, r, d);
        }
    }
    if (z->dtable == NULL) return;
    Target to = {z->dtable + at * z->width, z->width, 0, z->add, 0, NULL};
    for (long j = 0; j < panels; j++)
        rows_of(room->slopes, row, 0, z->n, j * WIDE, 2, 1, room->turned + 2 * j * pairs, pairs, NULL);
    for (long d = 0; d < z->width; d += WIDE)
        for (long t = 0; t < count; t += ROWS)
            some(count - t < ROWS ? (int)(count - t) : ROWS, z->width - d < WIDE ? 1 : 2,
                 (const uint32_t *)(room->turned + t / LANES * pairs) + t % LANES, 1, LANES, right + d / LANES * pairs,
                 pairs, pairs, &to, t, d);
}

/* Returns 0, 1 where there is no memory, or 2, with nothing done, where a label is no token. width is a multiple of 16.
 */
int head(const Head *z) {
    long n = z->n, width = z->width, blocks = parts_of(z->size, BLOCK * WIDE), all = parts_of(z->size, WIDE);
    long pairs = parts_of(n, 2);
    int parts = z->threads > PARTS ? z->threads : PARTS, short_of = 0;
    for (long r = 0; r < n; r++)
        if (z->labels[r] < 0 || z->labels[r] >= z->size) return 2;
    Seen *seen = (Seen *)room_for(3 * n * parts);
    Words *right = z->write ? room_for(width / LANES * pairs) : NULL;
    float *peak = (float *)room_for(parts_of(2 * n, LANES)), *factor = peak + n;
    float *dx = z->write && z->dx != NULL ? (float *)room_for(parts * n * width / LANES) : NULL;
    if (seen == NULL || peak == NULL || (z->write && (right == NULL || (z->dx != NULL && dx == NULL)))) {
        free(seen), free(right), free(peak), free(dx);
        return 1;
    }
#pragma omp parallel num_threads(z->threads)
    {
        Words *work = room_for(width > 2 * BLOCK * WIDE ? width : 2 * BLOCK * WIDE);
        float *ending = (float *)room_for(width);
        Room room = {.table = work};
        room.slopes = z->write ? (uint16_t *)room_for(n * BLOCK) : NULL;
        room.turned = z->write ? room_for(2 * BLOCK * pairs) : NULL;
        int fits = work != NULL && ending != NULL && (!z->write || (room.slopes != NULL && room.turned != NULL));
        if (!fits) {
#pragma omp atomic write
            short_of = 1;
        }
#pragma omp barrier
        if (!short_of) {
#pragma omp for schedule(static)
            for (int p = 0; p < parts; p++) {
                for (long r = 0; r < n; r++) seen[p * n + r] = (Seen){.most = all_of(NEVER)};
                for (long b = blocks * p / parts * BLOCK; b < blocks * (p + 1) / parts * BLOCK && b < all; b++)
                    scores_of(z, b, work, ending, seen + p * n);
            }
#pragma omp for schedule(static)
            for (long r = 0; r < n; r++) judged(z, r, seen, parts, peak, factor);
            if (z->write) {
#pragma omp for schedule(static)
                for (long d = 0; d < width; d += LANES)
                    rows_of(z->x, width, 0, n, d, 1, 1, right + d / LANES * pairs, pairs, NULL);
#pragma omp for schedule(static)
                for (int p = 0; p < parts; p++) {
                    float *own = dx == NULL ? NULL : dx + p * n * width;
                    if (own != NULL) memset(own, 0, sizeof(float) * (size_t)(n * width));
                    for (long b = blocks * p / parts; b < blocks * (p + 1) / parts; b++)
                        gradients_of(z, b, peak, factor, right, &room, own);
                }
#pragma omp for schedule(static)
                for (long i = 0; i < (dx == NULL ? 0 : n * width); i += LANES) {
                    Floats sum = {};
                    for (int p = 0; p < parts; p++) sum += *(const Floats *)(dx + p * n * width + i);
                    *(Floats *)(z->dx + i) = sum;
                }
            }
        }
        free(work), free(ending), free(room.slopes), free(room.turned);
    }
    free(seen), free(right), free(peak), free(dx);
    return short_of;
}
