// What a decode step computes on a CPU, at the speed at which memory delivers the weights: the product of a
// matrix with few vectors, and the sub-layers of a Llama-like model around it. Built by `models/kernels.py`.
//
// A vector's result does not depend on what is computed beside it: every sum runs in the same order, whatever
// the number of vectors, rows or threads. So a batch gives what its rows give alone, and the verification of
// a draft what plain decoding gives, as long as the pass is small enough to come here (`Products.choice`).

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

// Declared here: compilers come with OpenMP, and not always with its header.
extern "C" int omp_get_num_threads();
extern "C" int omp_get_thread_num();

namespace {

using Index = std::ptrdiff_t;

#if defined(__AVX512F__)
constexpr int BYTES = 64, MOST_VECTORS = 4;
#elif defined(__AVX__)
constexpr int BYTES = 32, MOST_VECTORS = 2;
#elif defined(__aarch64__)
constexpr int BYTES = 16, MOST_VECTORS = 4;
#else
constexpr int BYTES = 16, MOST_VECTORS = 2;
#endif
constexpr int LANES = BYTES / sizeof(float);
// Slots of K,V that are attended together.
constexpr Index CHUNK = 64;
// Queries that meet a key together.
constexpr Index MOST_QUERIES = 4;
constexpr float LEAST = -std::numeric_limits<float>::infinity();

// What compilers are told: loops of a few rounds are written out, and a value stays in a register.
#define UNROLL _Pragma("GCC unroll 16")
#if defined(__x86_64__)
#define KEEP(value) asm("" : "+v"(value))
#elif defined(__aarch64__)
#define KEEP(value) asm("" : "+w"(value))
#else
#define KEEP(value)
#endif

typedef float Floats __attribute__((vector_size(BYTES)));
typedef std::int32_t Words __attribute__((vector_size(BYTES)));
typedef std::uint32_t Bits __attribute__((vector_size(BYTES)));
typedef std::uint16_t Halves __attribute__((vector_size(BYTES / 2)));

struct BFloat16 {
    std::uint16_t bits;
};

inline float widened(float value) { return value; }

inline float widened(BFloat16 value) {
    const std::uint32_t bits = std::uint32_t(value.bits) << 16;
    float wide;
    std::memcpy(&wide, &bits, sizeof wide);
    return wide;
}

inline void store(float* place, float value) { *place = value; }

inline void store(BFloat16* place, float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    // To the nearest, ties to even; a NaN stays one.
    place->bits = value != value ? 0x7FC0 : std::uint16_t((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

inline Floats load(const float* from) {
    Floats found;
    std::memcpy(&found, from, sizeof found);
    return found;
}

inline Floats load(const BFloat16* from) {
    Halves halves;
    std::memcpy(&halves, from, sizeof halves);
    const Bits bits = __builtin_convertvector(halves, Bits) << 16;
    return (Floats)bits;
}

// The first `count` elements, and zeros.
template <class T>
inline Floats load(const T* from, Index count) {
    T part[LANES] = {};
    std::memcpy(part, from, count * sizeof(T));
    return load(part);
}

template <class T>
inline void fetch(const T* from, Index count) {
    for (Index at = 0; at < count; at += 64 / sizeof(T)) __builtin_prefetch(from + at, 0, 3);
}

inline void save(float* to, Floats value) { std::memcpy(to, &value, sizeof value); }

// Each lane's value in the lane whose number differs by DISTANCE, a power of two.
template <int DISTANCE, std::size_t... LANE>
inline Floats exchanged(Floats value, std::index_sequence<LANE...>) {
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(value, value, int(LANE ^ DISTANCE)...);
#else
    return __builtin_shuffle(value, Words{int(LANE ^ DISTANCE)...});
#endif
}

template <int DISTANCE>
inline float total_of(Floats value) {
    value += exchanged<DISTANCE>(value, std::make_index_sequence<LANES>{});
    if constexpr (DISTANCE > 1)
        return total_of<DISTANCE / 2>(value);
    else
        return value[0];
}

inline float total(Floats value) { return total_of<LANES / 2>(value); }

// exp to two units in the last place for values up to 0 (and NaN); what underflows is 0.
inline Floats exponential(Floats value) {
    const Floats lowest = Floats{} - 87.0f;
    const Words below = value < lowest;
    const Floats x = below ? lowest : value;
    // x = n ln 2 + r, |r| <= ln 2 / 2; adding 1.5 * 2^23 rounds to a whole number.
    const Floats shift = Floats{} + 12582912.0f;
    const Floats rounded = x * 1.44269504089f + shift;
    const Floats n = rounded - shift;
    const Floats r = (x - n * 0.693145751953125f) - n * 1.42860682030941723212e-6f;
    Floats p = Floats{} + 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const Bits power = (((Bits)rounded - 0x4B400000u) + 127u) << 23;
    const Floats found = p * (Floats)power;
    return below ? Floats{} : found;
}

inline Floats silu(Floats value) {
    // Of -|x|, so that nothing overflows: x s(x) with s(x) = 1 - s(-x).
    const Floats e = exponential(value < 0.0f ? value : -value);
    return value * ((value < 0.0f ? e : Floats{} + 1.0f) / (e + 1.0f));
}

// A NaN is larger than any number, and stays: it must not look like a query that sees nothing.
inline float larger(float one, float other) { return one > other || one != one ? one : other; }

struct Range {
    Index first, last;
};

// This thread's part of `count` items, in whole groups.
inline Range share(Index count, Index group = 1) {
    const Index threads = omp_get_num_threads(), groups = (count + group - 1) / group;
    const Index each = (groups + threads - 1) / threads * group;
    const Index first = std::min(count, omp_get_thread_num() * each);
    return {first, std::min(count, first + each)};
}

// Where a product's sums go: [vectors, rows of the matrix].
struct Sums {
    float* first;
    Index stride;
    float& at(Index vector, Index row) const { return first[vector * stride + row]; }
};

// Whether the rows after those at hand are fetched meanwhile: into the nearest cache, past the others, or into
// one that has room for them.
enum Ahead { NOTHING, NEAR, FAR };

// Elements that fill a register, and the Floats that it takes to widen them.
template <class T>
constexpr Index WORDS = BYTES / sizeof(T);
template <class T>
constexpr int PARTS = sizeof(float) / sizeof(T);

// ROWS rows of a matrix times VECTORS vectors.
template <class T, int ROWS, int VECTORS, int AHEAD>
inline void multiply(const T* matrix, Index inputs, const float* vectors, float (&found)[ROWS][VECTORS]) {
    Floats sums[ROWS][VECTORS];
    UNROLL for (int row = 0; row < ROWS; row++)
        UNROLL for (int vector = 0; vector < VECTORS; vector++) sums[row][vector] = Floats{};
    // The next rows in the order in which they lie in memory, which is what memory is fast at.
    const char* next = reinterpret_cast<const char*>(matrix + ROWS * inputs);
    const Index whole = inputs - inputs % WORDS<T>;
    for (Index at = 0; at < whole; at += WORDS<T>) {
        if (AHEAD != NOTHING)
            UNROLL for (int line = 0; line < ROWS * BYTES; line += 64)
                __builtin_prefetch(next + line, 0, AHEAD == NEAR ? 0 : 2);
        next += ROWS * BYTES;
        Floats weights[ROWS][PARTS<T>];
        UNROLL for (int row = 0; row < ROWS; row++)
            UNROLL for (int part = 0; part < PARTS<T>; part++)
                weights[row][part] = load(matrix + row * inputs + at + part * LANES);
        UNROLL for (int part = 0; part < PARTS<T>; part++) {
            if (VECTORS > 1) UNROLL for (int row = 0; row < ROWS; row++) KEEP(weights[row][part]);
            UNROLL for (int vector = 0; vector < VECTORS; vector++) {
                Floats x = load(vectors + vector * inputs + at + part * LANES);
                KEEP(x);
                UNROLL for (int row = 0; row < ROWS; row++) sums[row][vector] += weights[row][part] * x;
            }
        }
    }
    for (Index at = whole; at < inputs; at += LANES) {
        const Index rest = std::min<Index>(LANES, inputs - at);
        UNROLL for (int row = 0; row < ROWS; row++) {
            const Floats weights = load(matrix + row * inputs + at, rest);
            UNROLL for (int vector = 0; vector < VECTORS; vector++)
                sums[row][vector] += weights * load(vectors + vector * inputs + at, rest);
        }
    }
    UNROLL for (int row = 0; row < ROWS; row++)
        UNROLL for (int vector = 0; vector < VECTORS; vector++) found[row][vector] = total(sums[row][vector]);
}

template <class T, int ROWS, int VECTORS, int AHEAD>
inline void multiply_into(const T* matrix, Index row, Index inputs, const float* vectors, Index first, Sums sums) {
    float found[ROWS][VECTORS];
    multiply<T, ROWS, VECTORS, AHEAD>(matrix + row * inputs, inputs, vectors + first * inputs, found);
    for (int vector = 0; vector < VECTORS; vector++)
        for (int one = 0; one < ROWS; one++) sums.at(first + vector, row + one) = found[one][vector];
}

// ROWS rows times all vectors. Only the first vectors' pass comes from memory.
template <class T, int ROWS, int AHEAD>
inline void multiply_rows(const T* matrix, Index row, Index inputs, const float* vectors, Index count, Sums sums) {
    Index first = 0;
    for (; count - first >= MOST_VECTORS; first += MOST_VECTORS) {
        if (first)
            multiply_into<T, ROWS, MOST_VECTORS, NOTHING>(matrix, row, inputs, vectors, first, sums);
        else
            multiply_into<T, ROWS, MOST_VECTORS, AHEAD>(matrix, row, inputs, vectors, first, sums);
    }
    switch (count - first) {
        case 3: multiply_into<T, ROWS, 3, AHEAD>(matrix, row, inputs, vectors, first, sums); break;
        case 2: multiply_into<T, ROWS, 2, AHEAD>(matrix, row, inputs, vectors, first, sums); break;
        case 1: multiply_into<T, ROWS, 1, AHEAD>(matrix, row, inputs, vectors, first, sums); break;
    }
}

template <class T, int ROWS, int AHEAD>
void multiply_range(const T* matrix, Range rows, Index inputs, const float* vectors, Index count, Sums sums) {
    Index row = rows.first;
    for (; row + ROWS <= rows.last; row += ROWS)
        multiply_rows<T, ROWS, AHEAD>(matrix, row, inputs, vectors, count, sums);
    for (; row < rows.last; row++) multiply_rows<T, 1, NOTHING>(matrix, row, inputs, vectors, count, sums);
}

// Some rows of a matrix [.., inputs] times `count` vectors [count, inputs].
template <class T>
void product(const T* matrix, Range rows, Index inputs, const float* vectors, Index count, int way, Sums sums) {
    switch (way) {
        case 0: multiply_range<T, 1, NOTHING>(matrix, rows, inputs, vectors, count, sums); break;
        case 1: multiply_range<T, 2, NEAR>(matrix, rows, inputs, vectors, count, sums); break;
        case 2: multiply_range<T, 4, NEAR>(matrix, rows, inputs, vectors, count, sums); break;
        case 3: multiply_range<T, 4, FAR>(matrix, rows, inputs, vectors, count, sums); break;
        default: multiply_range<T, 4, NOTHING>(matrix, rows, inputs, vectors, count, sums); break;
    }
}
constexpr Index MOST_ROWS = 4;

// x w / sqrt(mean x^2 + epsilon).
template <class T>
void normalise(const T* state, const T* weight, Index width, float epsilon, float* normed) {
    Floats squares = {};
    const Index whole = width - width % LANES;
    for (Index at = 0; at < whole; at += LANES) {
        const Floats x = load(state + at);
        squares += x * x;
    }
    if (whole < width) {
        const Floats x = load(state + whole, width - whole);
        squares += x * x;
    }
    const float scale = 1.0f / std::sqrt(total(squares) / width + epsilon);
    for (Index at = 0; at < whole; at += LANES) save(normed + at, load(state + at) * scale * load(weight + at));
    for (Index at = whole; at < width; at++) normed[at] = widened(state[at]) * scale * widened(weight[at]);
}

// Memory of the calling thread that only grows; its parts are for one call.
class Scratch {
  public:
    explicit Scratch(Index floats) {
        thread_local std::vector<float> held;
        // Whole cache lines between the parts.
        if (Index(held.size()) < floats + 128) held.resize(floats + 128);
        next_ = held.data();
    }
    float* take(Index floats) {
        float* part = next_;
        next_ += (floats + 15) / 16 * 16;
        return part;
    }

  private:
    float* next_;
};

}  // namespace

extern "C" {

// Of one layer; matrices are [outputs, inputs], contiguous. Mirrored in `models/kernels.py`.
struct Layer {
    std::int64_t width, ffn_width, heads, kv_heads, head_width;
    float scale, epsilon;
    const void *attention_norm, *qkv, *qkv_bias, *query_norm, *key_norm, *out, *out_bias;
    const void *ffn_norm, *gate_up, *gate_up_bias, *down, *down_bias;
    // Of the products by qkv, out, gate_up, down: for one vector, two, up to four, more.
    std::int32_t ways[4][4];
};

// Of one pass: `tokens` tokens of each of `rows` rows.
struct Pass {
    std::int64_t rows, tokens, length;
    // [rows, tokens, head_width], sin with its first half's sign turned.
    const void *cos, *sin;
    // [rows, tokens, length], a number to add; null: everything is seen.
    const float* mask;
    const std::int64_t* slots;
    // The cache's rows that take part; null: the first `rows`.
    const std::int64_t* cache_rows;
    // Of the cache, in elements.
    std::int64_t row_stride, head_stride;
};
}

namespace {

inline int way_of(const std::int32_t (&ways)[4], Index vectors) {
    return ways[vectors <= 2 ? vectors - 1 : vectors <= 4 ? 2 : 3];
}

// A layer's part of the cache, [rows, kv_heads, capacity, head_width].
template <class T>
struct Cache {
    T *keys, *values;
};

// Some slots of one key head.
template <class T>
struct Chunk {
    const T *keys, *values;
    Index slots;
};

// One query: its state [head_width], what it sees of a chunk, and where its part of the answer goes.
struct Query {
    const float *head, *mask;
    float* part;
};

template <class T>
struct SubLayers {
    const Layer& layer;

    const T* at(const void* pointer) const { return static_cast<const T*>(pointer); }

    void add_bias(const void* bias, Range rows, Index count, Sums sums) const {
        if (!bias) return;
        for (Index vector = 0; vector < count; vector++)
            for (Index row = rows.first; row < rows.last; row++) sums.at(vector, row) += widened(at(bias)[row]);
    }

    // The last product of a sub-layer: `output` (may be null) takes it, `after` takes it added to `hidden`.
    void finish(const void* matrix, const void* bias, Index inputs, const float* vectors, Index count, int way,
                float* sums, const T* hidden, T* output, T* after) const {
        const Index width = layer.width;
        const Range mine = share(width, MOST_ROWS);
        product(at(matrix), mine, inputs, vectors, count, way, {sums, width});
        add_bias(bias, mine, count, {sums, width});
        for (Index token = 0; token < count; token++) {
            for (Index place = token * width + mine.first; place < token * width + mine.last; place++) {
                if (output) store(output + place, sums[place]);
                store(after + place, widened(hidden[place]) + sums[place]);
            }
        }
    }

    // In a parallel region, as everything below: `count` states [count, width], normed.
    void norm(const T* states, const void* weight, Index count, float* normed) const {
        const Range mine = share(count);
        for (Index token = mine.first; token < mine.last; token++)
            normalise(states + token * layer.width, at(weight), layer.width, layer.epsilon,
                      normed + token * layer.width);
#pragma omp barrier
    }

    // Heads [first, last) of every token's projections, [tokens, head, head_width].
    void project(const float* normed, Index count, Index first, Index last, float* heads) const {
        const Index all = layer.heads + 2 * layer.kv_heads, outputs = all * layer.head_width;
        const Index skipped = first * layer.head_width;
        Range mine = share((last - first) * layer.head_width, MOST_ROWS);
        mine = {mine.first + skipped, mine.last + skipped};
        product(at(layer.qkv), mine, layer.width, normed, count, way_of(layer.ways[0], count), {heads, outputs});
        add_bias(layer.qkv_bias, mine, count, {heads, outputs});
#pragma omp barrier
    }

    void turn(float* head, const T* cos, const T* sin) const {
        const Index half = layer.head_width / 2;
        for (Index at = 0; at < half; at++) {
            const float first = head[at], second = head[at + half];
            head[at] = first * widened(cos[at]) + second * widened(sin[at]);
            head[at + half] = second * widened(cos[at + half]) + first * widened(sin[at + half]);
        }
    }

    Index cache_place(const Pass& pass, Index token, Index kv_head) const {
        const Index row = token / pass.tokens;
        const Index stored = pass.cache_rows ? pass.cache_rows[row] : row;
        return stored * pass.row_stride + kv_head * pass.head_stride;
    }

    // Head norms and rotary embedding from head `first` on; keys and values go into the cache.
    void place(const Pass& pass, Cache<T> cache, Index first, float* heads) const {
        const Index all = layer.heads + 2 * layer.kv_heads, width = layer.head_width;
        const Index count = pass.rows * pass.tokens;
        const Range mine = share(count * (all - first));
        for (Index item = mine.first; item < mine.last; item++) {
            const Index token = item / (all - first), number = first + item % (all - first);
            float* head = heads + (token * all + number) * width;
            if (number < layer.heads + layer.kv_heads) {
                if (const void* weight = number < layer.heads ? layer.query_norm : layer.key_norm) {
                    std::vector<float> wide(width);
                    for (Index at = 0; at < width; at++) wide[at] = widened(this->at(weight)[at]);
                    normalise(head, wide.data(), width, layer.epsilon, head);
                }
                turn(head, at(pass.cos) + token * width, at(pass.sin) + token * width);
            }
            if (number < layer.heads) continue;
            const bool is_key = number < layer.heads + layer.kv_heads;
            const Index kv_head = (number - layer.heads) % layer.kv_heads;
            T* slot = (is_key ? cache.keys : cache.values) + cache_place(pass, token, kv_head) +
                      pass.slots[token % pass.tokens] * width;
            for (Index at = 0; at < width; at++) store(slot + at, head[at]);
        }
#pragma omp barrier
    }

    // One chunk of slots attended by the queries that share a key head. Of each: its greatest score, the sum
    // of its exponentials, and the values' weighted sums [head_width].
    void attend(const Pass& pass, Cache<T> cache, const float* heads, Index row, Index kv_head, Index chunk,
                float* parts) const {
        const Index shared = layer.heads / layer.kv_heads, queries = shared * pass.tokens;
        const Index start = chunk * CHUNK, slots = std::min(CHUNK, Index(pass.length) - start);
        const Index stored = cache_place(pass, row * pass.tokens, kv_head) + start * layer.head_width;
        const Chunk<T> there = {cache.keys + stored, cache.values + stored, slots};
        for (Index query = 0; query < queries;) {
            Query some[MOST_QUERIES];
            const Index count = std::min<Index>(MOST_QUERIES, queries - query);
            for (Index one = 0; one < count; one++, query++, parts += layer.head_width + 2) {
                const Index token = row * pass.tokens + query / shared;
                const Index head = kv_head * shared + query % shared;
                some[one] = {heads + (token * (layer.heads + 2 * layer.kv_heads) + head) * layer.head_width,
                             pass.mask ? pass.mask + token * pass.length + start : nullptr, parts};
            }
            switch (count) {
                case 4: meet<4>(there, some); break;
                case 3: meet<3>(there, some); break;
                case 2: meet<2>(there, some); break;
                case 1: meet<1>(there, some); break;
            }
        }
    }

    template <int COUNT>
    void meet(Chunk<T> chunk, const Query* queries) const {
        const Index width = layer.head_width, whole = width - width % LANES;
        alignas(64) float scores[COUNT][CHUNK];
        for (Index slot = 0; slot < chunk.slots; slot++) {
            const T* key = chunk.keys + slot * width;
            // Memory is never idle: the values come while queries meet the keys.
            fetch(chunk.values + slot * width, width);
            Floats sums[COUNT];
            UNROLL for (int query = 0; query < COUNT; query++) sums[query] = Floats{};
            for (Index at = 0; at < whole; at += LANES) {
                Floats keys = load(key + at);
                KEEP(keys);
                UNROLL for (int query = 0; query < COUNT; query++) sums[query] += keys * load(queries[query].head + at);
            }
            if (whole < width) {
                const Floats keys = load(key + whole, width - whole);
                UNROLL for (int query = 0; query < COUNT; query++)
                    sums[query] += keys * load(queries[query].head + whole, width - whole);
            }
            UNROLL for (int query = 0; query < COUNT; query++) scores[query][slot] = total(sums[query]);
        }
        for (int query = 0; query < COUNT; query++) weigh(scores[query], chunk.slots, queries[query]);
        mix<COUNT>(chunk, scores, queries);
    }

    // Scores become exponentials; their greatest and their sum are noted.
    void weigh(float* scores, Index slots, Query query) const {
        Floats most = Floats{} + LEAST;
        for (Index slot = 0; slot < slots; slot += LANES) {
            const Index count = std::min<Index>(LANES, slots - slot);
            std::fill(scores + slot + count, scores + slot + LANES, LEAST);
            Floats score = load(scores + slot) * layer.scale;
            if (query.mask) score += load(query.mask + slot, count);
            save(scores + slot, score);
            most = (score > most) | (score != score) ? score : most;
        }
        float greatest = most[0];
        for (int lane = 1; lane < LANES; lane++) greatest = larger(most[lane], greatest);
        // Who sees nothing in this chunk weighs it with zeros.
        const float from = greatest == LEAST ? 0.0f : greatest;
        Floats sum = {};
        for (Index slot = 0; slot < slots; slot += LANES) {
            const Floats weight = exponential(load(scores + slot) - from);
            save(scores + slot, weight);
            sum += weight;
        }
        query.part[0] = greatest;
        query.part[1] = total(sum);
    }

    // Values [slots, head_width] weighted and added up.
    template <int COUNT>
    void mix(Chunk<T> chunk, const float (&weights)[COUNT][CHUNK], const Query* queries) const {
        const Index width = layer.head_width;
        Index at = 0;
        for (; at + 2 * LANES <= width; at += 2 * LANES) {
            Floats sums[COUNT][2];
            UNROLL for (int query = 0; query < COUNT; query++) sums[query][0] = sums[query][1] = Floats{};
            for (Index slot = 0; slot < chunk.slots; slot++) {
                const T* value = chunk.values + slot * width + at;
                // And the next chunk's keys while the values are added up.
                if (at % (64 / sizeof(T)) == 0) __builtin_prefetch(chunk.keys + (CHUNK + slot) * width + at, 0, 3);
                Floats first = load(value), second = load(value + LANES);
                KEEP(first);
                KEEP(second);
                UNROLL for (int query = 0; query < COUNT; query++) {
                    sums[query][0] += first * weights[query][slot];
                    sums[query][1] += second * weights[query][slot];
                }
            }
            UNROLL for (int query = 0; query < COUNT; query++) {
                save(queries[query].part + 2 + at, sums[query][0]);
                save(queries[query].part + 2 + at + LANES, sums[query][1]);
            }
        }
        for (; at < width; at += LANES) {
            const Index count = std::min<Index>(LANES, width - at);
            for (int query = 0; query < COUNT; query++) {
                Floats sum = {};
                for (Index slot = 0; slot < chunk.slots; slot++)
                    sum += load(chunk.values + slot * width + at, count) * weights[query][slot];
                std::memcpy(queries[query].part + 2 + at, &sum, count * sizeof(float));
            }
        }
    }

    // What the chunks found, brought together: [tokens, heads, head_width].
    void gather(const Pass& pass, Index chunks, const float* parts, float* mixed) const {
        const Index width = layer.head_width, shared = layer.heads / layer.kv_heads, queries = shared * pass.tokens;
        const Range mine = share(pass.rows * pass.tokens * layer.heads);
        for (Index item = mine.first; item < mine.last; item++) {
            const Index token = item / layer.heads, head = item % layer.heads;
            const Index row = token / pass.tokens, kv_head = head / shared;
            const Index query = token % pass.tokens * shared + head % shared;
            const auto part = [&](Index chunk) {
                return parts + (((row * layer.kv_heads + kv_head) * chunks + chunk) * queries + query) * (width + 2);
            };
            float greatest = LEAST;
            for (Index chunk = 0; chunk < chunks; chunk++) {
                greatest = larger(part(chunk)[0], greatest);
            }
            float sum = 0.0f, *output = mixed + item * width;
            std::fill(output, output + width, 0.0f);
            for (Index chunk = 0; chunk < chunks; chunk++) {
                if (part(chunk)[0] == LEAST) continue;
                const float weight = std::exp(part(chunk)[0] - greatest);
                sum += part(chunk)[1] * weight;
                for (Index at = 0; at < width; at++) output[at] += part(chunk)[2 + at] * weight;
            }
            if (sum != 0.0f)
                for (Index at = 0; at < width; at++) output[at] /= sum;
        }
#pragma omp barrier
    }

    void attention(const Pass& pass, Cache<T> cache, const T* states, T* after, int threads) const {
        const Index count = pass.rows * pass.tokens, heads_width = layer.heads * layer.head_width;
        const Index all = (layer.heads + 2 * layer.kv_heads) * layer.head_width;
        const Index chunks = (pass.length + CHUNK - 1) / CHUNK;
        const Index queries = layer.heads / layer.kv_heads * pass.tokens;
        const Index items = pass.rows * layer.kv_heads * chunks, part = queries * (layer.head_width + 2);
        Scratch scratch(count * (layer.width + all + heads_width) + items * part);
        float *normed = scratch.take(count * layer.width), *heads = scratch.take(count * all);
        float *mixed = scratch.take(count * heads_width), *parts = scratch.take(items * part);
#pragma omp parallel num_threads(threads)
        {
            norm(states, layer.attention_norm, count, normed);
            project(normed, count, 0, layer.heads + 2 * layer.kv_heads, heads);
            place(pass, cache, 0, heads);
            const Range mine = share(items);
            for (Index item = mine.first; item < mine.last; item++)
                attend(pass, cache, heads, item / chunks / layer.kv_heads, item / chunks % layer.kv_heads, item % chunks,
                       parts + item * part);
#pragma omp barrier
            gather(pass, chunks, parts, mixed);
            finish(layer.out, layer.out_bias, heads_width, mixed, count, way_of(layer.ways[1], count), normed, states,
                   nullptr, after);
        }
    }

    void write_kv(const Pass& pass, Cache<T> cache, const T* states, int threads) const {
        const Index count = pass.rows * pass.tokens;
        const Index all = (layer.heads + 2 * layer.kv_heads) * layer.head_width;
        Scratch scratch(count * (layer.width + all));
        float *normed = scratch.take(count * layer.width), *heads = scratch.take(count * all);
#pragma omp parallel num_threads(threads)
        {
            norm(states, layer.attention_norm, count, normed);
            project(normed, count, layer.heads, layer.heads + 2 * layer.kv_heads, heads);
            place(pass, cache, layer.heads, heads);
        }
    }

    // `output` (may be null) is the FFN's, `after` the same added to `hidden`.
    void ffn(const T* states, const T* hidden, T* output, T* after, Index count, int threads) const {
        const Index inner = layer.ffn_width;
        Scratch scratch(count * (layer.width + 2 * inner));
        float *normed = scratch.take(count * layer.width), *gated = scratch.take(count * inner);
        float* raised = scratch.take(count * inner);
#pragma omp parallel num_threads(threads)
        {
            norm(states, layer.ffn_norm, count, normed);
            const Range mine = share(inner, 16);
            const int way = way_of(layer.ways[2], count);
            const T *up = at(layer.gate_up) + inner * layer.width, *bias = at(layer.gate_up_bias);
            product(at(layer.gate_up), mine, layer.width, normed, count, way, {gated, inner});
            product(up, mine, layer.width, normed, count, way, {raised, inner});
            add_bias(bias, mine, count, {gated, inner});
            add_bias(bias ? bias + inner : nullptr, mine, count, {raised, inner});
            for (Index token = 0; token < count; token++) {
                float *gate = gated + token * inner, *above = raised + token * inner;
                for (Index at = mine.first; at < mine.last; at += LANES) {
                    const Index some = std::min<Index>(LANES, mine.last - at);
                    const Floats found = silu(load(gate + at, some)) * load(above + at, some);
                    std::memcpy(gate + at, &found, some * sizeof(float));
                }
            }
#pragma omp barrier
            finish(layer.down, layer.down_bias, inner, gated, count, way_of(layer.ways[3], count), normed, hidden,
                   output, after);
        }
    }
};

template <class T>
void multiply_all(const T* matrix, const T* bias, const T* vectors, T* found, Index outputs, Index inputs, Index count,
                  int way, int threads) {
    Scratch scratch(count * (inputs + outputs));
    float *wide = scratch.take(count * inputs), *sums = scratch.take(count * outputs);
    for (Index at = 0; at < count * inputs; at++) wide[at] = widened(vectors[at]);
#pragma omp parallel num_threads(threads)
    {
        const Range mine = share(outputs, MOST_ROWS);
        product(matrix, mine, inputs, wide, count, way, {sums, outputs});
        for (Index vector = 0; vector < count; vector++)
            for (Index row = mine.first; row < mine.last; row++)
                store(found + vector * outputs + row,
                      sums[vector * outputs + row] + (bias ? widened(bias[row]) : 0.0f));
    }
}

// Cosines of `count` pairs of states [count, width], within [-1, 1]; 0 for a state of zeros.
template <class T>
void cosines(const T* states, const T* others, float* found, Index width, Index count) {
    const Index whole = width - width % LANES;
    for (Index token = 0; token < count; token++, states += width, others += width) {
        Floats dot = {}, squares = {}, other_squares = {};
        const auto add = [&](Floats one, Floats other) {
            dot += one * other;
            squares += one * one;
            other_squares += other * other;
        };
        for (Index at = 0; at < whole; at += LANES) add(load(states + at), load(others + at));
        if (whole < width) add(load(states + whole, width - whole), load(others + whole, width - whole));
        const float norms = std::sqrt(total(squares)) * std::sqrt(total(other_squares));
        const float cosine = total(dot) / (norms < 1e-30f ? 1e-30f : norms);
        found[token] = cosine > 1.0f ? 1.0f : cosine < -1.0f ? -1.0f : cosine;
    }
}

template <class Act>
void by_type(int bytes, Act act) {
    if (bytes == 4)
        act(float{});
    else
        act(BFloat16{});
}

}  // namespace

// `bytes` is the size of an element: 4 for float32, 2 for bfloat16.
namespace {

// Work in the type that so many bytes are; 1 if there was no memory for it, which happens before anything is written.
template <class Work>
int done(int bytes, Work work) {
    try {
        by_type(bytes, work);
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

}  // namespace

extern "C" {

int skip_product(int bytes, const void* matrix, const void* bias, const void* vectors, void* found,
                  std::int64_t outputs, std::int64_t inputs, std::int64_t count, int way, int threads) {
    return done(bytes, [&](auto kind) {
        using T = decltype(kind);
        multiply_all(static_cast<const T*>(matrix), static_cast<const T*>(bias), static_cast<const T*>(vectors),
                     static_cast<T*>(found), outputs, inputs, count, way, threads);
    });
}

int skip_cosines(int bytes, const void* states, const void* others, float* found, std::int64_t width,
                  std::int64_t count) {
    return done(bytes, [&](auto kind) {
        using T = decltype(kind);
        cosines(static_cast<const T*>(states), static_cast<const T*>(others), found, width, count);
    });
}

int skip_attention(int bytes, const Layer* layer, const Pass* pass, void* keys, void* values,
                    const void* states, void* after, int threads) {
    return done(bytes, [&](auto kind) {
        using T = decltype(kind);
        SubLayers<T>{*layer}.attention(*pass, {static_cast<T*>(keys), static_cast<T*>(values)}, static_cast<const T*>(states), static_cast<T*>(after), threads);
    });
}

int skip_write_kv(int bytes, const Layer* layer, const Pass* pass, void* keys, void* values, const void* states, int threads) {
    return done(bytes, [&](auto kind) {
        using T = decltype(kind);
        SubLayers<T>{*layer}.write_kv(*pass, {static_cast<T*>(keys), static_cast<T*>(values)}, static_cast<const T*>(states), threads);
    });
}

int skip_ffn(int bytes, const Layer* layer, const void* states, const void* hidden, void* output, void* after,
              std::int64_t count, int threads) {
    return done(bytes, [&](auto kind) {
        using T = decltype(kind);
        SubLayers<T>{*layer}.ffn(static_cast<const T*>(states), static_cast<const T*>(hidden), static_cast<T*>(output),
                                 static_cast<T*>(after), count, threads);
    });
}
}
