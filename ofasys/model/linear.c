/* Products of a linear layer and its gradients, of numbers in bfloat16 with weights and the gradients of weights in
   float32. Each number of a result is summed in one order, whatever the number of threads. */

#include "pairs.h"

#define UNITS 2048L /* summed over at a time: so many of 32 columns lie in a processor's own memory */

int linear_halves(void) { return multiplies_pairs(); }

/* In how many parts the rows of a product are, so that every thread has some */
static long split(long rows, long panels, int threads) {
    long wanted = threads > 1 ? parts_of(2L * threads, panels) : 1, most = parts_of(rows, ROWS);
    return wanted < most ? wanted : most;
}

enum { AS_COLUMNS, AS_ROWS, LAID_OUT }; /* a weight is (columns, width), (width, columns), or as `linear_lay_out` */

/* (n, width) halves by a weight -> (n, columns) at z. Returns 1 where there is no memory. */
static int by_weight(long n, long width, long columns, int lies, int threads, const uint16_t *x, const void *weight,
                     Target z) {
    long step = n == 1 && lies == LAID_OUT && columns % (ALONE * LANES) == 0 ? ALONE * LANES : WIDE;
    long panels = parts_of(columns, step), units = width / 2, parts = split(n, panels, threads);
    long most = parts_of(parts_of(n, parts), ROWS) * ROWS;
    int short_of = 0;
#pragma omp parallel num_threads(threads)
    {
        Words *room = lies == LAID_OUT ? NULL : room_for(2 * units);
        if (room == NULL && lies != LAID_OUT) {
#pragma omp atomic write
            short_of = 1;
        }
#pragma omp for schedule(static)
        for (long task = 0; task < panels * parts; task++) {
            if (room == NULL && lies != LAID_OUT) continue;
            long at = task / parts * step, begin = task % parts * most, end = begin + most < n ? begin + most : n;
            int groups = columns - at < step ? 1 : (int)(step / LANES);
            const Words *own = lies == LAID_OUT ? (const Words *)weight + at / LANES * units : room;
            if (lies == AS_COLUMNS)
                for (int g = 0; g < groups; g++)
                    columns_of((const float *)weight + (at + g * LANES) * width, width, room + g * units);
            else if (lies == AS_ROWS)
                rows_of(weight, columns, 0, width, at, groups, 0, room, units, NULL);
            for (long r = begin; r < end; r += ROWS)
                some(end - r < ROWS ? (int)(end - r) : ROWS, groups, (const uint32_t *)(x + r * width), units, 1, own,
                     units, units, &z, r, at);
        }
        free(room);
    }
    return short_of;
}

/* x (n, in) and weight (out, in), bias (out) or none -> y (n, out). in and out are multiples of 16. Returns 1 where
   there is no memory. */
int linear_forward(long n, long in, long out, int threads, const uint16_t *x, const float *weight, const float *bias,
                   uint16_t *y) {
    return by_weight(n, in, out, AS_COLUMNS, threads, x, weight, (Target){y, out, 1, 0, 0, bias});
}

/* A weight (out, in) as `linear_laid_out` wants it, (out / 16, in / 2, 16) pairs. */
void linear_lay_out(long in, long out, const float *weight, Words *to) {
    for (long at = 0; at < out; at += LANES) columns_of(weight + at * in, in, to + at / LANES * (in / 2));
}

/* As `linear_forward`, of a weight that was laid out -> y (n, out) in float32. which: as of `activated`. */
int linear_laid_out(long n, long in, long out, int threads, const uint16_t *x, const Words *weight, const float *bias,
                    float *y, int which) {
    return by_weight(n, in, out, LAID_OUT, threads, x, weight, (Target){y, out, 0, 0, which, bias});
}

/* Of dy (n, out), the gradient of y, that of x. */
int linear_back(long n, long in, long out, int threads, const float *weight, const uint16_t *dy, uint16_t *dx) {
    return by_weight(n, out, in, AS_ROWS, threads, dy, weight, (Target){dx, in, 1, 0, 0, NULL});
}

/* Of dy (n, out), those of the weight (out, in) and, if there is one, of the bias (out). */
int linear_weights(long n, long in, long out, int threads, const uint16_t *x, const uint16_t *dy, float *dweight,
                   float *dbias) {
    long panels = parts_of(in, WIDE), stripes = parts_of(out, WIDE), all = parts_of(n, 2);
    long most = all < UNITS ? all : UNITS;
    long parts = split(out, panels, threads), some_rows = parts_of(parts_of(out, parts), LANES) * LANES;
    Words *left = room_for(stripes * 2 * most);
    int short_of = left == NULL;
    Target z = {dweight, in, 0, 0, 0, NULL};
    if (short_of) return 1;
    if (dbias != NULL) memset(dbias, 0, sizeof(float) * (size_t)out);
#pragma omp parallel num_threads(threads)
    {
        Words *room = room_for(2 * most);
        if (room == NULL) {
#pragma omp atomic write
            short_of = 1;
        }
        long begin = 0;
        do {
            long end = begin + 2 * most < n ? begin + 2 * most : n, units = parts_of(end - begin, 2);
#pragma omp for schedule(static)
            for (long stripe = 0; stripe < stripes; stripe++)
                rows_of(dy, out, begin, end, stripe * WIDE, out - stripe * WIDE < WIDE ? 1 : 2, 1,
                        left + stripe * 2 * most, most, dbias);
#pragma omp for schedule(static)
            for (long task = 0; task < panels * parts; task++) {
                if (room == NULL) continue;
                long at = task / parts * WIDE, r = task % parts * some_rows;
                long last = r + some_rows < out ? r + some_rows : out;
                int groups = in - at < WIDE ? 1 : 2;
                Target own = z;
                own.add = begin > 0;
                rows_of(x, in, begin, end, at, groups, 1, room, most, NULL);
                for (; r < last; r += ROWS)
                    some(ROWS, groups, (const uint32_t *)(left + r / LANES * most) + r % LANES, 1, LANES, room, most,
                         units, &own, r, at);
            }
            begin = end;
        } while (begin < n);
        free(room);
    }
    free(left);
    return short_of;
}
