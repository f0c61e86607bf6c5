/* Of the scores (n, U) of rows the best few and the logarithm of the sum of all exponents, or one that is drawn with the
   chance that its score gives it; nothing is sorted. Scores are float32; weights are exp of them and in float32 too,
   their sums in double, a block of 256 at a time. And the scores of some rows of a table alone. */

#include "vectors.h"

#include <stdlib.h>

#define BLOCK 256

typedef struct {
    int rows, threads, wanted; /* wanted: k, not above U */
    long size, row;            /* U, and numbers from a row to the next */
    const float *scores;
    float *best;    /* (rows, k) falling */
    int64_t *place; /* (rows, k) their columns; the first of equal ones first */
    float *norm;    /* (rows) NaN where a score is */
} Best;

typedef struct {
    int rows, threads;
    long size, row; /* U, and numbers from a row to the next */
    float inverse;  /* of the temperature */
    double share;   /* top_p; 1: all */
    const float *scores;
    const float *least;   /* (rows) what is below has no chance; NULL: all have one */
    const double *chance; /* (rows) in [0, 1) */
    int64_t *drawn;       /* (rows) */
} Draws;

/* The sum of `count` weights, a multiple of 16, of those that are `least` or more */
static double mass(const float *w, long count, float least) {
    double all = 0.0;
    for (long from = 0; from < count; from += BLOCK) {
        long to = from + BLOCK < count ? from + BLOCK : count;
        Floats sum = {};
        for (long i = from; i < to; i += LANES) {
            Floats x = *(const Floats *)(w + i);
            sum += either(x >= least, x, (Floats){});
        }
        all += (double)sum_of(sum);
    }
    return all;
}

/* Sixteen scores from `at` on, -inf past the end */
static inline Floats scores_at(const float *x, long at, long U) {
    if (at + LANES <= U) return *(const Floats *)(x + at);
    Floats v = all_of(-INFINITY);
    memcpy(&v, x + at, sizeof(float) * (size_t)(U - at));
    return v;
}

static void best(const Best *z, int number, float *peaks) {
    const float *x = z->scores + (long)number * z->row;
    long U = z->size;
    int k = z->wanted, held = 0;
    float *value = z->best + (long)number * k;
    int64_t *column = z->place + (long)number * k;
    Floats most = all_of(-INFINITY);
    Ints unknown = {};
    for (long from = 0; from < U; from += BLOCK) {
        Floats peak = all_of(-INFINITY);
        for (long i = from; i < from + BLOCK && i < U; i += LANES) {
            Floats v = scores_at(x, i, U);
            peak = either(v > peak, v, peak);
            unknown |= v != v;
        }
        if (k) peaks[from / BLOCK] = most_of(peak);
        most = either(peak > most, peak, most);
    }
    float top = most_of(most);
    double all = 0.0;
    for (long from = 0; from < U; from += BLOCK) {
        Floats sum = {};
        for (long i = from; i < from + BLOCK && i < U; i += LANES) {
            Floats v = scores_at(x, i, U);
            sum += either(v > -INFINITY, exp_of(v - top), (Floats){});
        }
        all += (double)sum_of(sum);
    }
    z->norm[number] = top == -INFINITY ? top : top + (float)log(all);
    for (int i = 0; i < LANES; i++)
        if (unknown[i]) z->norm[number] = NAN;
    for (long from = 0; k && from < U; from += BLOCK) {
        if (held == k && !(peaks[from / BLOCK] > value[k - 1])) continue;
        for (long i = from; i < from + BLOCK && i < U; i++) {
            if (held == k && !(x[i] > value[k - 1])) continue;
            int at = held < k ? held++ : k - 1;
            for (; at > 0 && value[at - 1] < x[i]; at--) value[at] = value[at - 1], column[at] = column[at - 1];
            value[at] = x[i], column[at] = i;
        }
    }
}

/* Returns 0, or 1 where there is no memory. */
int choose_best(const Best *z) {
    int short_of = 0;
#pragma omp parallel num_threads(z->threads) if (z->rows > 1)
    {
        float *peaks = malloc(sizeof(float) * (size_t)(z->size / BLOCK + 1));
        if (!peaks) {
#pragma omp atomic write
            short_of = 1;
        }
#pragma omp for schedule(static)
        for (int number = 0; number < z->rows; number++)
            if (peaks) best(z, number, peaks);
        free(peaks);
    }
    return short_of;
}

static inline int32_t bits_of(float x) {
    int32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

static inline float of_bits(int32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/* Takes the chance of all but the smallest set of the largest weights whose sum reaches `share` of `all`; of equal ones
   the first stay. Halves the range of the smallest that stays, in the bits of a weight, which are nearly its logarithm.
   some (U + 16): room. */
static void narrow(float *w, long count, double all, double share, float *some) {
    double target = share * all, above = 0.0;
    float least = INFINITY, most = 0.0f;
    long n = 0;
    for (long i = 0; i < count; i++) {
        float x = w[i];
        some[n] = x;
        n += x > 0.0f;
        least = x > 0.0f && x < least ? x : least;
        most = x > most ? x : most;
    }
    if (!n) return;
    int32_t lo = bits_of(least), hi = bits_of(most);
    while (lo < hi) {
        int32_t middle = lo + (hi - lo + 1) / 2;
        float pivot = of_bits(middle);
        for (long i = n; i % LANES; i++) some[i] = 0.0f;
        double upper = mass(some, (n + LANES - 1) / LANES * LANES, pivot);
        int reached = above + upper >= target;
        long kept = 0;
        for (long i = 0; i < n; i++) {
            float x = some[i];
            some[kept] = x;
            kept += (x >= pivot) == reached;
        }
        if (reached) {
            lo = middle;
        } else {
            above += upper;
            hi = middle - 1;
        }
        if (!kept) break; /* sums were rounded otherwise: all of the range stays */
        n = kept;
    }
    float last = of_bits(lo);
    double room = ceil((target - above) / (double)last);
    long equal = room < 1.0 ? 1 : room > (double)count ? count : (long)room;
    for (long i = 0; i < count; i++) {
        if (w[i] == last && equal-- > 0) continue;
        if (w[i] <= last) w[i] = 0.0f;
    }
}

static int64_t drawn(const Draws *z, int number, float *w, float *some, double *sums) {
    const float *x = z->scores + (long)number * z->row;
    long U = z->size, padded = (U + LANES - 1) / LANES * LANES;
    float least = z->least ? z->least[number] : -INFINITY;
    Floats most = all_of(-INFINITY);
    for (long i = 0; i < U; i += LANES) {
        Floats v = scores_at(x, i, U);
        most = either(v > most, v, most);
    }
    float top = most_of(most);
    if (top == -INFINITY) return 0; /* nothing may come */
    for (long i = 0; i < U; i += LANES) {
        Floats v = scores_at(x, i, U);
        Ints there = (v >= least) & (v > -INFINITY);
        *(Floats *)(w + i) = either(there, exp_of((v - top) * z->inverse), (Floats){});
    }
    if (z->share < 1.0) narrow(w, padded, mass(w, padded, 0.0f), z->share, some);
    double all = 0.0;
    long blocks = 0;
    for (long from = 0; from < padded; from += BLOCK, blocks++)
        all += sums[blocks] = mass(w + from, from + BLOCK < padded ? BLOCK : padded - from, 0.0f);
    double target = z->chance[number] * all, before = 0.0;
    int64_t last = 0;
    for (long b = 0; b < blocks; b++) {
        if (before + sums[b] <= target && b + 1 < blocks) {
            before += sums[b];
            continue;
        }
        double here = before;
        int found = 0;
        for (long i = b * BLOCK; i < U && i < (b + 1) * BLOCK; i++) {
            if (w[i] <= 0.0f) continue;
            last = i, found = 1;
            here += (double)w[i];
            if (here > target) return i;
        }
        if (found) return last; /* rounding must not push a draw past the last that has any chance */
        before += sums[b];
    }
    for (long i = U - 1; i >= 0; i--)
        if (w[i] > 0.0f) return i;
    return 0;
}

/* Returns 0, or 1 where there is no memory. */
int choose_drawn(const Draws *z) {
    int short_of = 0;
    size_t room = (size_t)z->size + LANES, blocks = room / BLOCK + 1;
#pragma omp parallel num_threads(z->threads) if (z->rows > 1)
    {
        float *w = malloc(sizeof(float) * room), *some = malloc(sizeof(float) * (room + LANES));
        double *sums = malloc(sizeof(double) * blocks);
        if (!w || !some || !sums) {
#pragma omp atomic write
            short_of = 1;
        }
#pragma omp for schedule(static)
        for (int number = 0; number < z->rows; number++)
            if (w && some && sums) z->drawn[number] = drawn(z, number, w, some, sums);
        free(w), free(some), free(sums);
    }
    return short_of;
}

/* a times b, summed in one order */
static inline float product(const float *a, const float *b, int D) {
    int whole = D / LANES * LANES, d = 0;
    Floats sum = {}, more = {};
    for (; d + 2 * LANES <= D; d += 2 * LANES) {
        sum += *(const Floats *)(a + d) * *(const Floats *)(b + d);
        more += *(const Floats *)(a + d + LANES) * *(const Floats *)(b + d + LANES);
    }
    if (d < whole) {
        sum += *(const Floats *)(a + d) * *(const Floats *)(b + d);
        d += LANES;
    }
    float all = sum_of(sum + more);
    for (; d < D; d++) all += a[d] * b[d];
    return all;
}

/* out (n, k): the products of rows `tokens` (n, k) of a table (V, D) with x (n, D). */
void choose_scores(const float *table, const float *x, const int64_t *tokens, int n, int k, int D, int threads,
                   float *out) {
#pragma omp parallel for num_threads(threads) schedule(static) if ((long)n * k * D > 100000)
    for (long at = 0; at < (long)n * k; at++) out[at] = product(table + tokens[at] * D, x + at / k * D, D);
}

/* Rough scores (n, k) of tokens (n, k), and the logarithm of the sum of the exponents of all scores (n), of which they
   are some -> the scores as the table has them, falling, their tokens in that order, and the logarithm with them in
   place of the rough ones. */
void choose_settled(const float *table, const float *x, int n, int k, int D, int threads, float *scores,
                    int64_t *tokens, float *norm) {
#pragma omp parallel for num_threads(threads) schedule(static) if ((long)n * k * D > 100000)
    for (int r = 0; r < n; r++) {
        float *own = scores + (long)r * k, all = norm[r], peak = all;
        int64_t *of = tokens + (long)r * k;
        double rest = 0.0, found = 0.0;
        for (int i = 0; i < k; i++) rest -= expf(own[i] - all);
        for (int i = 0; i < k; i++) {
            int64_t token = of[i];
            float exact = product(table + token * D, x + (long)r * D, D);
            int at = i;
            for (; at > 0 && own[at - 1] < exact; at--) own[at] = own[at - 1], of[at] = of[at - 1];
            own[at] = exact, of[at] = token;
            if (exact > peak) peak = exact;
        }
        for (int i = 0; i < k; i++) found += expf(own[i] - peak);
        rest = (rest + 1.0) * expf(all - peak); /* of what is not among them */
        norm[r] = peak + logf((float)((rest < 0.0 ? 0.0 : rest) + found));
    }
}

static inline uint32_t hashed(uint32_t value, uint32_t *by, uint32_t factor) {
    value ^= *by;
    *by *= factor;
    value *= *by;
    return value ^ value >> 16;
}

static inline uint32_t mixed(uint32_t x, uint32_t y) {
    uint32_t made = 0xca01f9ddu * x - 0x4973f715u * y;
    return made ^ made >> 16;
}

/* out (n): the first number in [0, 1) of numpy's default generator of each entropy, words[first[i]:first[i + 1]]: its
   `SeedSequence` (O'Neill's seed_seq_fe), then PCG64. */
void choose_chances(const uint32_t *words, const int64_t *first, int n, double *out) {
    for (int i = 0; i < n; i++) {
        const uint32_t *own = words + first[i];
        int count = (int)(first[i + 1] - first[i]);
        uint32_t pool[4], by = 0x43b0d7e5u, state[8];
        for (int at = 0; at < 4; at++) pool[at] = hashed(at < count ? own[at] : 0, &by, 0x931e8875u);
        for (int from = 0; from < 4; from++)
            for (int to = 0; to < 4; to++)
                if (from != to) pool[to] = mixed(pool[to], hashed(pool[from], &by, 0x931e8875u));
        for (int from = 4; from < count; from++)
            for (int to = 0; to < 4; to++) pool[to] = mixed(pool[to], hashed(own[from], &by, 0x931e8875u));
        by = 0x8b51f9ddu;
        for (int at = 0; at < 8; at++) state[at] = hashed(pool[at % 4], &by, 0x58f38dedu);
        unsigned __int128 part[4], factor = (unsigned __int128)2549297995355413924u << 64 | 4865540595714422341u;
        for (int at = 0; at < 4; at++) part[at] = (uint64_t)state[2 * at + 1] << 32 | state[2 * at];
        unsigned __int128 more = (part[2] << 64 | part[3]) << 1 | 1;
        unsigned __int128 now = (more + (part[0] << 64 | part[1])) * factor + more;
        now = now * factor + more;
        uint64_t folded = (uint64_t)(now >> 64) ^ (uint64_t)now;
        int turn = (int)(now >> 122);
        out[i] = (double)((folded >> turn | folded << (-turn & 63)) >> 11) * 0x1p-53;
    }
}
