/* Products of numbers in bfloat16 that are multiplied in pairs, with sums in float32.

   A unit is a pair of halves that lie beside each other, of one number more and one less of those that are summed over.
   The right side of a product is laid out in groups of 16 columns, (groups, units, 16), which pays where it is read by
   many rows, as weights are; products of attention, whose sides are small and read once or twice, are in
   `attention.c`. */

#include "vectors.h"

#include <stdlib.h>

#define ROWS 8  /* of a product that share a load */
#define WIDE 32 /* columns that do */
#define ALONE 8 /* groups that a single row goes through at once, or each product would wait for the one before it */

/* Whether the processor is for them: with tiles, a library for matrices is several times faster */
static inline int multiplies_pairs(void) {
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
    return 1;
#else
    return 0;
#endif
}

static inline __attribute__((always_inline)) Floats added(Floats sum, const uint32_t *a, Words b) {
#ifdef __AVX512BF16__
    return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)*a), (__m512bh)b);
#else
    Words one = *a - (Words){};
    Floats low = (Floats)(one << 16) * (Floats)(b << 16);
    return sum + low + (Floats)(one & 0xffff0000u) * (Floats)(b & 0xffff0000u);
#endif
}

/* Where a product goes: numbers from a row to the next, whether they are halves, whether to add to what is there, what
   comes after it (as of `activated`), and what is added to each row. */
typedef struct {
    void *to;
    long row;
    int half, add, which;
    const float *bias;
} Target;

/* `rows` rows of a (units `step` apart, rows `row` apart) with `wide` groups of b -> columns from `at` on */
static inline __attribute__((always_inline)) void tile(const int rows, const int wide, const uint32_t *a, long row,
                                                       long step, const Words *b, long group, long units,
                                                       const Target *z, long first, long at) {
    Floats sums[ROWS * 2];
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) {
            Floats *sum = sums + r * wide + w;
            *sum = z->bias == NULL ? (Floats){} : *(const Floats *)(z->bias + at + w * LANES);
            if (z->add) *sum = read_at(z->to, (first + r) * z->row + at + w * LANES, z->half);
        }
    for (long k = 0; k < units; k++) {
        Words own[ALONE];
        for (int w = 0; w < wide; w++) own[w] = b[w * group + k];
        for (int r = 0; r < rows; r++)
            for (int w = 0; w < wide; w++) sums[r * wide + w] = added(sums[r * wide + w], a + r * row + k * step, own[w]);
    }
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) {
            Floats made = z->which ? activated(sums[r * wide + w], z->which) : sums[r * wide + w];
            write_at(z->to, (first + r) * z->row + at + w * LANES, made, z->half);
        }
}

/* wide: 1, 2, or of one row `ALONE` */
static inline void some(int rows, int wide, const uint32_t *a, long row, long step, const Words *b, long group,
                        long units, const Target *z, long first, long at) {
#define CASE(count) \
    case count: \
        if (wide > 1) \
            tile(count, 2, a, row, step, b, group, units, z, first, at); \
        else \
            tile(count, 1, a, row, step, b, group, units, z, first, at); \
        break;
    if (wide == ALONE) tile(1, ALONE, a, row, step, b, group, units, z, first, at);
    else switch (rows) { CASE(8) CASE(7) CASE(6) CASE(5) CASE(4) CASE(3) CASE(2) CASE(1) }
#undef CASE
}

/* Sixteen rows of units turned into sixteen columns */
static inline void turned(Words *rows) {
    static const Ints own = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (int far = 1; far < LANES; far *= 2) {
        Ints upper = (own & far) != 0, first = (upper & (own - far + LANES)) | (~upper & own);
        Ints second = (upper & (own + LANES)) | (~upper & (own + far));
        for (int r = 0; r < LANES; r++) {
            if (r & far) continue;
            Words a = rows[r], b = rows[r | far];
            rows[r] = __builtin_shuffle(a, b, first);
            rows[r | far] = __builtin_shuffle(a, b, second);
        }
    }
}

/* Sixteen rows of a weight (16, width), as a group of columns that are summed over `width` */
static inline void columns_of(const float *from, long width, Words *to) {
    for (long k = 0; k < width / 2; k += LANES) {
        Words block[LANES];
        long count = width / 2 - k < LANES ? width / 2 - k : LANES;
        for (int r = 0; r < LANES; r++) {
            union {
                Halves halves[2];
                Words words;
            } one = {0};
            one.halves[0] = halves_of(*(const Floats *)(from + r * width + 2 * k));
            if (2 * count > LANES) one.halves[1] = halves_of(*(const Floats *)(from + r * width + 2 * k + LANES));
            block[r] = one.words;
        }
        turned(block);
        memcpy(to + k, block, sizeof(Words) * (size_t)count);
    }
}

static inline Words words_of(const void *from, long at, int half) {
    if (half) return __builtin_convertvector(*(const Halves *)((const uint16_t *)from + at), Words);
    return __builtin_convertvector(halves_of(*(const Floats *)((const float *)from + at)), Words);
}

/* Rows `begin` to `end` of a matrix (.., row) as `groups` groups of its columns from `at` on, which are summed over
   them; an odd last one beside zeros. sums: of each column, added to. */
static inline void rows_of(const void *from, long row, long begin, long end, long at, int groups, int half, Words *to,
                    long group, float *sums) {
    Floats all[2] = {};
    for (long r = begin; r < end; r += 2, to++)
        for (int g = 0; g < groups; g++) {
            Words first = words_of(from, r * row + at + g * LANES, half), second = {};
            if (r + 1 < end) second = words_of(from, (r + 1) * row + at + g * LANES, half);
            to[g * group] = first | second << 16;
            all[g] += (Floats)(first << 16) + (Floats)(second << 16);
        }
    for (int g = 0; g < groups && sums != NULL; g++) *(Floats *)(sums + at + g * LANES) += all[g];
}

static inline long parts_of(long n, long step) { return (n + step - 1) / step; }

static Words *room_for(long units) { return aligned_alloc(64, sizeof(Words) * (size_t)(units > 0 ? units : 1)); }
