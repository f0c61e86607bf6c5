/* Scores (n, U) turned, in place, into the gradients of their cross-entropies: what is read once is kept near until it
   is written. Scores are float32 or bfloat16; all that comes of them is in float32. */

#include "vectors.h"

#include <stdlib.h>

typedef struct {
    int rows, half, threads, write; /* write: the gradients; else scores are left */
    long size, row;                 /* U, and numbers from a row to the next */
    float smoothing;
    void *scores;
    const int64_t *labels; /* (rows) */
    float *losses;         /* (rows) */
    uint8_t *correct;      /* (rows) whether none is above the label's */
} Scores;

/* The last numbers of a row, fewer than 16, among `rest` */
static inline Floats read_last(const void *row, long at, int count, float rest, int half) {
    Floats x = all_of(rest);
    uint16_t halves[LANES];
    if (!half) {
        memcpy(&x, (const float *)row + at, sizeof(float) * (size_t)count);
        return x;
    }
    memcpy(halves, (const uint16_t *)row + at, sizeof(uint16_t) * (size_t)count);
    for (int i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)halves[i] << 16;
        memcpy((float *)&x + i, &bits, 4);
    }
    return x;
}

static void write_last(void *row, long at, int count, Floats x, int half) {
    if (half) {
        Halves halves = halves_of(x);
        memcpy((uint16_t *)row + at, &halves, sizeof(uint16_t) * (size_t)count);
    } else {
        memcpy((float *)row + at, &x, sizeof(float) * (size_t)count);
    }
}

static void turned(const Scores *z, int number, float *near) {
    void *row = (char *)z->scores + (long)number * z->row * (z->half ? 2 : 4);
    long U = z->size, whole = U / LANES * LANES, label = z->labels[number];
    int left = (int)(U - whole);
    Floats most = all_of(-INFINITY), sum = {}, total = {};
    for (long i = 0; i < whole; i += LANES) {
        Floats x = read_at(row, i, z->half);
        *(Floats *)(near + i) = x;
        most = either(x > most, x, most);
        total += x;
    }
    float mean = sum_of(total);
    if (left) {
        Floats x = read_last(row, whole, left, -INFINITY, z->half);
        *(Floats *)(near + whole) = x;
        most = either(x > most, x, most);
        for (int i = 0; i < left; i++) mean += near[whole + i];
    }
    float top = most_of(most), score = near[label], own = 1.0f - z->smoothing;
    for (long i = 0; i < U; i += LANES) {
        Floats x = exp_of(*(Floats *)(near + i) - top);
        *(Floats *)(near + i) = x;
        sum += x;
    }
    for (int i = left; left && i < LANES; i++) sum[i] -= near[whole + i]; /* of what is no score */
    float all = sum_of(sum), spread = z->smoothing / (float)U;
    z->losses[number] = top + logf(all) - own * score - (z->smoothing > 0.0f ? spread * mean : 0.0f);
    z->correct[number] = score >= top;
    if (!z->write) return;
    float factor = 1.0f / all;
    for (long i = 0; i < whole; i += LANES) write_at(row, i, *(Floats *)(near + i) * factor - spread, z->half);
    if (left) write_last(row, whole, left, *(Floats *)(near + whole) * factor - spread, z->half);
    Floats last = all_of(near[label] * factor - spread - own);
    write_last(row, label, 1, last, z->half);
}

/* Returns 0, 1 where there is no memory, or 2, with nothing done, where a label is none of the scores. */
int scores_turned(const Scores *z) {
    int short_of = 0;
    for (int number = 0; number < z->rows; number++)
        if (z->labels[number] < 0 || z->labels[number] >= z->size) return 2;
    size_t bytes = (size_t)(z->size / LANES + 1) * 64;
#pragma omp parallel num_threads(z->threads)
    {
        float *near = aligned_alloc(64, bytes);
        if (near == NULL) {
#pragma omp atomic write
            short_of = 1;
        }
#pragma omp for schedule(static)
        for (int number = 0; number < z->rows; number++)
            if (near != NULL) turned(z, number, near);
        free(near);
    }
    return short_of;
}
