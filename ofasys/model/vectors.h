/* Sixteen numbers at once, where the processor has registers of 512 bits; the compiler makes do where it has not. */

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#define LANES 16

typedef float Floats __attribute__((vector_size(64), aligned(4)));
typedef int32_t Ints __attribute__((vector_size(64), aligned(4)));
typedef uint32_t Words __attribute__((vector_size(64), aligned(4)));
typedef uint16_t Halves __attribute__((vector_size(32), aligned(2)));

static inline Floats all_of(float x) { return x - (Floats){}; }

static inline float sum_of(Floats x) {
    x += __builtin_shuffle(x, (Ints){8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7});
    x += __builtin_shuffle(x, (Ints){4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11});
    x += __builtin_shuffle(x, (Ints){2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13});
    return x[0] + x[1];
}

static inline Floats either(Ints which, Floats yes, Floats no) {
    return (Floats)(((Ints)yes & which) | ((Ints)no & ~which));
}

static inline float most_of(Floats x) {
    for (int far = 8; far; far /= 2) {
        Ints to = (Ints){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} ^ far;
        Floats other = __builtin_shuffle(x, to);
        x = either(x > other, x, other);
    }
    return x[0];
}

/* exp to 2e-7 of it (Cephes' polynomial) */
static inline Floats exp_of(Floats x) {
    x = either(x < -87.0f, all_of(-87.0f), either(x > 88.0f, all_of(88.0f), x));
    Floats n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    x = x - n * 0.693359375f + n * 2.12194440e-4f;
    Floats y = ((((1.9875691500e-4f * x + 1.3981999507e-3f) * x + 8.3334519073e-3f) * x + 4.1665795894e-2f) * x +
                1.6666665459e-1f) * x + 5.0000001201e-1f;
    y = y * x * x + x + 1.0f;
    return (Floats)((Ints)y + (__builtin_convertvector(n, Ints) << 23));
}

/* x * Phi(x); the error function to 2e-7 (Abramowitz and Stegun, 7.1.26) */
static inline Floats gelu_of(Floats x) {
    Floats z = either(x < 0.0f, -x, x) * 0.70710678f, t = 1.0f / (1.0f + 0.3275911f * z);
    Floats tail = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t *
                  exp_of(-z * z);
    return x * either(x < 0.0f, 0.5f * tail, 1.0f - 0.5f * tail);
}

static inline Floats activated(Floats x, int which) {
    switch (which) {
    case 1: return gelu_of(x);
    case 2: return either(x > 0.0f, x, all_of(0.0f));
    case 3: return x / (1.0f + exp_of(-x));
    default: return x;
    }
}

/* Rounded to the nearest, to even where two are as near */
static inline Halves halves_of(Floats x) {
#ifdef __AVX512BF16__
    return (Halves)_mm512_cvtneps_pbh((__m512)x);
#else
    Words bits = (Words)x;
    return __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, Halves);
#endif
}

/* Sixteen of numbers in bfloat16, if `half`, or in float32 */
static inline Floats read_at(const void *row, long at, int half) {
    if (!half) return *(const Floats *)((const float *)row + at);
    return (Floats)(__builtin_convertvector(*(const Halves *)((const uint16_t *)row + at), Words) << 16);
}

static inline void write_at(void *row, long at, Floats x, int half) {
    if (half)
        *(Halves *)((uint16_t *)row + at) = halves_of(x);
    else
        *(Floats *)((float *)row + at) = x;
}
