// The words of gpusim.kernels.lang on vectors of V lanes, and on single numbers, for C++ (GCC, Clang).
//
// F, I, U and L are float32, int32, uint32 and int64; a condition is an I, all bits set where it holds. Where `of<T>` or a
// template is used, T may as well be the number itself (float, int32_t, ...), so that emitted code is the same for both.

#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__AVX512F__) && defined(__AVX512DQ__) && !defined(NARROW)
#include <immintrin.h>
#define AVX512 1
#define AVX2 0
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define AVX512 0
#define AVX2 1
#else
#define AVX512 0
#define AVX2 0
#endif
#define INLINE static inline __attribute__((always_inline))

constexpr int V = AVX512 ? 16 : 8;
typedef float F __attribute__((vector_size(4 * V), may_alias));
typedef int32_t I __attribute__((vector_size(4 * V), may_alias));
typedef uint32_t U __attribute__((vector_size(4 * V), may_alias));
typedef int64_t L __attribute__((vector_size(8 * V), may_alias));
typedef double D __attribute__((vector_size(8 * V)));
typedef uint64_t W __attribute__((vector_size(8 * V)));
typedef uint8_t B __attribute__((vector_size(V)));

template <class T, class S> INLINE T of(S x) { return x - T{}; }  // in every lane; -0.0 stays
#define EACH(r, x, f) { decltype(x) r; for (int k = 0; k < V; k++) r[k] = f; return r; }

// Conversions, as torch's. Words are uint32 here and int64 there, so that they become numbers by way of L.
INLINE F to_f(I x) { return __builtin_convertvector(x, F); }
INLINE F to_f(L x) { return __builtin_convertvector(x, F); }
INLINE I to_i(F x) { return __builtin_convertvector(x, I); }
INLINE I to_i(L x) { return __builtin_convertvector(x, I); }
INLINE L to_l(I x) { return __builtin_convertvector(x, L); }
INLINE L to_l(U x) { return __builtin_convertvector(x, L); }
INLINE L to_l(F x) { return __builtin_convertvector(x, L); }
INLINE U to_u(I x) { return (U)x; }
INLINE U to_u(L x) { return __builtin_convertvector(x, U); }
INLINE I as_i(U x) { return (I)x; }
INLINE float to_f(int32_t x) { return (float)x; }
INLINE float to_f(int64_t x) { return (float)x; }
INLINE int32_t to_i(float x) { return (int32_t)x; }
INLINE int32_t to_i(int64_t x) { return (int32_t)x; }
INLINE int64_t to_l(int32_t x) { return x; }
INLINE int64_t to_l(uint32_t x) { return x; }
INLINE int64_t to_l(float x) { return (int64_t)x; }
INLINE uint32_t to_u(int32_t x) { return (uint32_t)x; }
INLINE uint32_t to_u(int64_t x) { return (uint32_t)x; }
INLINE int32_t as_i(uint32_t x) { return (int32_t)x; }

// Comparisons.
INLINE I mask(I x) { return x; }
INLINE I mask(L x) { return __builtin_convertvector(x, I); }
INLINE int32_t mask(bool x) { return -(int32_t)x; }
#define COMPARISON(name, sign) \
    INLINE I name(F a, F b) { return a sign b; } \
    INLINE I name(I a, I b) { return a sign b; } \
    INLINE I name(U a, U b) { return a sign b; } \
    INLINE I name(L a, L b) { return mask((L)(a sign b)); } \
    INLINE int32_t name(float a, float b) { return mask(a sign b); } \
    INLINE int32_t name(int32_t a, int32_t b) { return mask(a sign b); } \
    INLINE int32_t name(uint32_t a, uint32_t b) { return mask(a sign b); } \
    INLINE int32_t name(int64_t a, int64_t b) { return mask(a sign b); }
COMPARISON(lt, <)
COMPARISON(le, <=)
COMPARISON(gt, >)
COMPARISON(ge, >=)
COMPARISON(eq, ==)
COMPARISON(ne, !=)

INLINE F where(I c, F a, F b) { return c ? a : b; }
INLINE I where(I c, I a, I b) { return c ? a : b; }
INLINE U where(I c, U a, U b) { return c ? a : b; }
INLINE L where(I c, L a, L b) { return to_l(c) ? a : b; }
template <class T> INLINE T where(int32_t c, T a, T b) { return c ? a : b; }
template <class T> INLINE T minimum(T a, T b) { return where(lt(b, a) | ne(b, b), b, a); }  // NaN where either is
template <class T> INLINE T maximum(T a, T b) { return where(gt(b, a) | ne(b, b), b, a); }

// Tables.
#define GATHER(name, T, N, x) \
    INLINE T gather_##name(const void* table, I at) { T r; for (int k = 0; k < V; k++) { const N e = ((const N*)table)[at[k]]; r[k] = x; } return r; } \
    INLINE decltype(T{}[0] + 0) gather_##name(const void* table, int32_t at) { const N e = ((const N*)table)[at]; return x; }
GATHER(f, F, float, e)
GATHER(i, I, int32_t, e)
GATHER(b, I, uint8_t, -(int32_t)(e != 0))

// Shifts: by less than nothing, or by more than there are bits, all are shifted out, as on tensors.
template <class T> constexpr int BITS = sizeof(T) == sizeof(L) || sizeof(T) == sizeof(int64_t) ? 64 : 32;
template <class T> INLINE T shift_left(T x, T n) {
    return where(lt(n, T{}) | ge(n, T{} + BITS<T>), T{}, x << (n & (BITS<T> - 1)));
}
template <class T> INLINE T shift_right(T x, T n) {
    return x >> where(lt(n, T{}) | ge(n, T{} + BITS<T>), T{} + (BITS<T> - 1), n);
}

INLINE bool any(int32_t c) { return c; }
#if AVX512
INLINE I shift_left(I x, I n) { return (I)_mm512_sllv_epi32((__m512i)x, (__m512i)n); }
INLINE I shift_right(I x, I n) { return (I)_mm512_srav_epi32((__m512i)x, (__m512i)n); }
INLINE bool any(I c) { return _mm512_movepi32_mask((__m512i)c); }
INLINE uint32_t bits(I c) { return _mm512_movepi32_mask((__m512i)c); }
INLINE F fma_(F a, F b, F c) { return (F)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE F floor_(F x) { return (F)_mm512_roundscale_ps((__m512)x, 9); }
INLINE F ceil_(F x) { return (F)_mm512_roundscale_ps((__m512)x, 10); }
INLINE F sqrt_(F x) { return (F)_mm512_sqrt_ps((__m512)x); }
INLINE F rint_(F x) { return (F)_mm512_roundscale_ps((__m512)x, 8); }
INLINE void products(U a, U b, U& high, U& low) {  // of 64 bits
    const __m512i even = _mm512_mul_epu32((__m512i)a, (__m512i)b);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)a, 32), _mm512_srli_epi64((__m512i)b, 32));
    low = (U)_mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
    high = (U)_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
}
#elif AVX2
INLINE I shift_left(I x, I n) { return (I)_mm256_sllv_epi32((__m256i)x, (__m256i)n); }
INLINE I shift_right(I x, I n) { return (I)_mm256_srav_epi32((__m256i)x, (__m256i)n); }
INLINE bool any(I c) { return !_mm256_testz_si256((__m256i)c, (__m256i)c); }
INLINE uint32_t bits(I c) { return _mm256_movemask_ps((__m256)c); }  // one for each lane
INLINE F fma_(F a, F b, F c) { return (F)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE F floor_(F x) { return (F)_mm256_floor_ps((__m256)x); }
INLINE F ceil_(F x) { return (F)_mm256_ceil_ps((__m256)x); }
INLINE F sqrt_(F x) { return (F)_mm256_sqrt_ps((__m256)x); }
INLINE F rint_(F x) { return (F)_mm256_round_ps((__m256)x, 8); }
INLINE void products(U a, U b, U& high, U& low) {  // of 64 bits
    const __m256i even = _mm256_mul_epu32((__m256i)a, (__m256i)b);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)a, 32), _mm256_srli_epi64((__m256i)b, 32));
    low = (U)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
    high = (U)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
}
#else
INLINE bool any(I c) { int32_t r = 0; for (int k = 0; k < V; k++) r |= c[k]; return r; }
INLINE uint32_t bits(I c) { uint32_t r = 0; for (int k = 0; k < V; k++) r |= (c[k] & 1u) << k; return r; }
#ifdef __FP_FAST_FMAF
INLINE F fma_(F a, F b, F c) EACH(r, a, __builtin_fmaf(a[k], b[k], c[k]))
#else
INLINE F fma_(F a, F b, F c) {  // a product of two floats is exact as a double
    return __builtin_convertvector(__builtin_convertvector(a, D) * __builtin_convertvector(b, D) + __builtin_convertvector(c, D), F);
}
#endif
INLINE F floor_(F x) EACH(r, x, __builtin_floorf(x[k]))
INLINE F ceil_(F x) EACH(r, x, __builtin_ceilf(x[k]))
INLINE F sqrt_(F x) EACH(r, x, __builtin_sqrtf(x[k]))
INLINE F rint_(F x) EACH(r, x, __builtin_rintf(x[k]))
INLINE void products(U a, U b, U& high, U& low) {
    const W p = __builtin_convertvector(a, W) * __builtin_convertvector(b, W);
    high = __builtin_convertvector(p >> 32, U);
    low = __builtin_convertvector(p, U);
}
#endif
INLINE float fma_(float a, float b, float c) {
#if AVX2 || AVX512 || defined(__FP_FAST_FMAF)
    return __builtin_fmaf(a, b, c);
#else
    return (float)((double)a * b + c);
#endif
}
INLINE float floor_(float x) { return std::floor(x); }
INLINE float ceil_(float x) { return std::ceil(x); }
INLINE float sqrt_(float x) { return std::sqrt(x); }
INLINE float rint_(float x) { return std::nearbyint(x); }
INLINE void products(uint32_t a, uint32_t b, uint32_t& high, uint32_t& low) {
    const uint64_t p = (uint64_t)a * b;
    high = (uint32_t)(p >> 32), low = (uint32_t)p;
}
template <class T> INLINE T below(T word, T count) { T high, low; products(word, count, high, low); return high; }
INLINE F absolute(F x) { return (F)((I)x & 0x7fffffff); }
INLINE float absolute(float x) { return std::fabs(x); }
template <class T> INLINE T absolute(T x) { return where(lt(x, T{}), -x, x); }

// Philox-4x32-10, see gpusim/kernels/philox.py.
template <class T> INLINE void philox(uint32_t k0, uint32_t k1, T c0, T c1, T c2, T c3, T (&word)[4]) {
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        T h0, l0, h1, l1;
        products(c0, of<T>(0xD2511F53u), h0, l0), products(c2, of<T>(0xCD9E8D57u), h1, l1);
        c0 = h1 ^ c1 ^ k0, c1 = l1, c2 = h0 ^ c3 ^ k1, c3 = l0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    word[0] = c0, word[1] = c1, word[2] = c2, word[3] = c3;
}

// Division rounds towards minus infinity; of ints by 0 it gives 0, as NumPy's.
template <class T> INLINE T divided(T x, T y, bool rest) {
    const auto by_zero = eq(y, T{}), by_minus_one = eq(y, T{} - 1);  // the latter overflows
    const T d = where(by_zero | by_minus_one, T{} + 1, y), q = x / d, r = x - q * d;
    const auto down = ne(r, T{}) & (lt(r, T{}) ^ lt(d, T{}));
    if (rest) return where(by_zero | by_minus_one, T{}, where(down, r + d, r));
    return where(by_zero, T{}, where(by_minus_one, T{} - x, where(down, q - 1, q)));
}
INLINE F fmod_(F x, F y) EACH(r, x, std::fmod(x[k], y[k]))
INLINE float fmod_(float x, float y) { return std::fmod(x, y); }
template <class T> INLINE T float_remainder(T x, T y) {
    const T q = x / y;
    T r = fma_(T{} - floor_(q), y, x);  // exact while the quotient is
    if (__builtin_expect(any(~lt(absolute(q), of<T>(0x1p22f)) | ne(r, r)), 0)) r = fmod_(x, y);
    return where(ne(r, T{}) & (lt(r, T{}) ^ lt(y, T{})), r + y, r);
}
template <class T> INLINE T float_quotient(T x, T y) {
    const T r = float_remainder(x, y), q = (x - r) / y, down = floor_(q);
    const T endless = where(eq(r, x), T{}, of<T>(-1.0f));  // of a divisor without end
    const T whole = where(gt(q - down, of<T>(0.5f)), down + 1.0f, down);
    return where(eq(y, T{}), x / y, where(eq(absolute(y), of<T>(INFINITY)) & lt(absolute(x), of<T>(INFINITY)), endless, whole));
}
INLINE F remainder_(F x, F y) { return float_remainder(x, y); }
INLINE F floor_divide(F x, F y) { return float_quotient(x, y); }
INLINE float remainder_(float x, float y) { return float_remainder(x, y); }
INLINE float floor_divide(float x, float y) { return float_quotient(x, y); }
template <class T> INLINE T remainder_(T x, T y) { return divided(x, y, true); }
template <class T> INLINE T floor_divide(T x, T y) { return divided(x, y, false); }

// Elementary functions. Range reduction after Cody & Waite by fused multiplications, polynomials of Cephes (Moshier).
template <class T> INLINE T polynomial(T, float c) { return of<T>(c); }
template <class T, class... Rest> INLINE T polynomial(T x, float last, Rest... before) {  // c0 + c1 x + ..., c0 given last
    T r = of<T>(last);
    const float rest[] = {before...};
#pragma GCC unroll 16
    for (float c : rest) r = fma_(r, x, of<T>(c));
    return r;
}
INLINE F far_sin(F x, int turn) EACH(r, x, turn ? (float)std::cos((double)x[k]) : (float)std::sin((double)x[k]))
INLINE float far_sin(float x, int turn) { return turn ? (float)std::cos((double)x) : (float)std::sin((double)x); }
template <class T> INLINE T sine(T x, int turn) {  // turn: quarters to go on by; 1.6 ulp
    const T k = rint_(x * 0.636619772367581343f);
    T r = fma_(k, of<T>(-0x1.921fb6p+0f), x);
    r = fma_(k, of<T>(0x1.777a5cp-25f), r);
    r = fma_(k, of<T>(0x1.ee59dap-50f), r);
    const auto quarter = to_i(k) + turn;
    const T z = r * r, s = fma_(polynomial(z, -1.9515295891e-4f, 8.3321608736e-3f, -1.6666654611e-1f) * z, r, r);
    const T c = fma_(polynomial(z, 2.443315711809948e-5f, -1.388731625493765e-3f, 4.166664568298827e-2f), z * z,
                     fma_(of<T>(-0.5f), z, of<T>(1.0f)));
    T y = where(ne(quarter & 1, quarter - quarter), c, s);
    y = where(ne(quarter & 2, quarter - quarter), T{} - y, y);
    if (__builtin_expect(any(gt(absolute(x), of<T>(1e5f))), 0)) y = far_sin(x, turn);
    return y;
}
template <class T> INLINE T sin_(T x) { return sine(x, 0); }
template <class T> INLINE T cos_(T x) { return sine(x, 1); }

INLINE F from_bits(I x) { return (F)x; }
INLINE I bits_of(F x) { return (I)x; }
INLINE float from_bits(int32_t x) { float r; memcpy(&r, &x, 4); return r; }
INLINE int32_t bits_of(float x) { int32_t r; memcpy(&r, &x, 4); return r; }
template <class T> INLINE T signed_as(T x, T y) { return from_bits(bits_of(x) | (bits_of(y) & bits_of(of<T>(-0.0f)))); }
template <class T> INLINE T exp_(T x) {
    const T n = rint_(minimum(maximum(x, of<T>(-104.0f)), of<T>(89.0f)) * 1.44269504088896341f);
    const T r = fma_(n, of<T>(2.12194440e-4f), fma_(n, of<T>(-0.693359375f), x));
    const T p = polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f,
                           5.0000001201e-1f);
    const T y = fma_(p, r * r, r + 1.0f);
    const auto i = to_i(n), half = i >> 1;  // in two factors: the result may be subnormal
    const T scaled = y * from_bits((half + 127) << 23) * from_bits((i - half + 127) << 23);
    return where(ne(x, x), x, where(gt(x, of<T>(88.7228394f)), of<T>(INFINITY), where(lt(x, of<T>(-103.972084f)), T{}, scaled)));
}
template <class T> INLINE T log_(T x) {
    const auto tiny = lt(x, of<T>(0x1p-126f));
    const T y = where(tiny, x * 0x1p23f, x);
    const auto b = bits_of(y);
    auto e = ((b >> 23) & 255) - 126;
    T m = from_bits((b & 0x7fffff) | 0x3f000000);  // in [0.5, 1)
    const auto small = lt(m, of<T>(0.707106781186547524f));
    e = e + small;
    m = where(small, m + m, m) - 1.0f;
    const T n = to_f(e) - where(tiny, of<T>(23.0f), T{}), z = m * m;
    T p = polynomial(m, 7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                     -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f) * m * z;
    p = fma_(n, of<T>(-2.12194440e-4f), p);
    const T r = fma_(n, of<T>(0.693359375f), m + fma_(of<T>(-0.5f), z, p));
    const T odd = where(eq(x, T{}), of<T>(-INFINITY), where(lt(x, T{}), of<T>(NAN), x));  // 0, negative, NaN, infinite
    return where(gt(x, T{}) & lt(x, of<T>(INFINITY)), r, odd);
}
template <class T> INLINE T tanh_(T x) {
    const T a = absolute(x), z = x * x;
    const T near = fma_(polynomial(z, -5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                                   -3.33332819422e-1f) * z, a, a);
    const T far = of<T>(1.0f) - of<T>(2.0f) / (exp_(a + a) + 1.0f);
    return signed_as(where(lt(a, of<T>(0.625f)), near, far), x);
}
template <class T> INLINE T atan2_(T y, T x) {  // of the lesser by the greater, about 0 or, above tan(pi/8), about 1
    const T ax = absolute(x), ay = absolute(y);
    const auto steep = gt(ay, ax);
    const T most = where(steep, ay, ax), scale = where(gt(most, of<T>(0x1p126f)), of<T>(0.25f), of<T>(1.0f));
    const T a = where(steep, ax, ay) * scale, b = most * scale;
    const auto far = gt(a, b * 0.414213562f) | (eq(a, b) & gt(a, T{}));  // or both are infinite
    const T q = where(eq(a, b), T{}, where(far, a - b, a) / where(far, a + b, b));
    const T z = q * q;
    T r = fma_(polynomial(z, 8.05374449538e-2f, -1.38776856032e-1f, 1.99777106478e-1f, -3.33329491539e-1f) * z, q, q);
    r = where(far, r - 0x1.777a5cp-26f + 0x1.921fb6p-1f, r);
    r = where(steep, 0x1.921fb6p+0f - (r + 0x1.777a5cp-25f), r);
    r = where(lt(bits_of(x), bits_of(T{})), 0x1.921fb6p+1f - (r + 0x1.777a5cp-24f), r);
    return where(ne(x, x) | ne(y, y), x + y, signed_as(r, y));
}

// Memory: the first `left` of V lanes.
template <class T, class X> INLINE void put(T* to, X x, int64_t left) {
    if (left >= V) memcpy(to, &x, V * sizeof(T));
    else if (left > 0) memcpy(to, &x, left * sizeof(T));
}
INLINE void put_flags(uint8_t* to, I c, int64_t left) { put(to, __builtin_convertvector(c & 1, B), left); }
template <class X, class T> INLINE X get(const T* from, int64_t left) {
    X x{};
    memcpy(&x, from, (left >= V ? V : left > 0 ? left : 0) * sizeof(T));
    return x;
}
