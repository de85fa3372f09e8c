// One pass of DRDM's network (drdm.py, `Drdm.once`) over one image of two dimensions.
//
// The network's maps have 10 to 40 channels. Libraries give each lane of a vector register a channel, in multiples of
// 16, and leave a third of the lanes empty; here lanes are neighbouring pixels of a row. Every map has zeros around it,
// so that no kernel asks where the edge is, and sums, activations and time terms are added where a value is in a
// register anyway. Each pixel is computed in the same order on any number of threads.
//
// Maps are in the plain order (channel, row, column). Kernels come packed by drdm_compiled.py, in the order of use: by
// tiles of output channels, in each (input channel, tap, output channel).

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

namespace {

// Lanes of a register, and output channels that are summed up at once: two registers for each must fit.
#if defined(__AVX512F__)
constexpr int LANES = 16, TILE = 10;
#elif defined(__AVX__)
constexpr int LANES = 8, TILE = 5;
#elif defined(__aarch64__)
constexpr int LANES = 4, TILE = 10;
#else
constexpr int LANES = 4, TILE = 5;
#endif

constexpr int ENCODER[3] = {10, 20, 40};
constexpr int MIDDLE[3] = {20, 20, 40};
constexpr int DECODER[3][3] = {{10, 10, 10}, {20, 10, 10}, {40, 20, 20}};  // by level, as they are stored
constexpr int WIDEST[4] = {10, 20, 40, 40};                                // channels of a level
constexpr int LEVELS = 4;
constexpr float SLOPE = 1e-6f;  // of the leaky ReLU
constexpr double EPSILON = 1e-5;

constexpr int MARGIN = 3;   // rows of zeros above and below: the reach of a kernel dilated by 3
constexpr int BEFORE = 16;  // zeros before a row
constexpr int AFTER = 48;   // zeros after it: the last two registers of a row may begin at its last pixel

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

Lanes leaky(Lanes x) {
    Lanes less = x * SLOPE;
    return x > less ? x : less;
}

Lanes load(const float *place) { return *(const Lanes *)place; }

void put(float *place, Lanes value, int left) {
    if (left >= LANES) *(Lanes *)place = value;
    else std::memcpy(place, &value, sizeof(float) * left);
}

// Channels of one size, with zeros around each.
struct Map {
    float *first;  // pixel (0, 0) of channel 0
    int channels, rows, columns;

    static long stride(int columns) { return (BEFORE + columns + AFTER + LANES - 1) / LANES * LANES; }
    static long size(int channels, int rows, int columns) {
        return long(channels) * (rows + 2 * MARGIN) * stride(columns);
    }
    long row() const { return stride(columns); }
    long plane() const { return size(1, rows, columns); }
    float *at(int channel, int y) const { return first + channel * plane() + y * row(); }
    Map part(int channel, int count) const { return {first + channel * plane(), count, rows, columns}; }
};

// Maps of a level of the U-Net: what goes in and comes out, and what a block keeps between.
struct Level {
    Map x, residual, once, twice, joined;
};

struct Weights {
    const float *next;
    const float *take(long count) {
        next += count;
        return next - count;
    }
};

struct Run {
    Weights weights;
    float *scratch;  // for each thread
    long each;       // numbers of it
    int threads;
};

// Call work(index, thread) for each index, threads taking equal runs of them.
template <class Work>
void share(int count, int threads, Work work) {
    threads = std::max(1, std::min(threads, count));
    auto run = [&](int thread) {
        for (int i = long(count) * thread / threads; i < long(count) * (thread + 1) / threads; i++) work(i, thread);
    };
    std::vector<std::thread> others;
    for (int thread = 1; thread < threads; thread++) others.emplace_back(run, thread);
    run(0);
    for (auto &other : others) other.join();
}

// A convolution: where it finds its taps, and its numbers.
struct Kernel {
    const long *taps;
    int count;
    const float *numbers, *bias;
};

// made[o][v] = bias[o] + the sum over channels c and taps t of numbers[c, t, o] * in[c, t, v].
template <int O, int V>
inline __attribute__((always_inline)) void sum(Lanes (&made)[O][V], const float *in, long plane, int channels, Kernel kernel) {
    Lanes sums[O][V];
#pragma GCC unroll 10
    for (int o = 0; o < O; o++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) sums[o][v] = Lanes{} + kernel.bias[o];
    const float *numbers = kernel.numbers;
    for (int c = 0; c < channels; c++, in += plane)
        for (int t = 0; t < kernel.count; t++, numbers += O) {
            Lanes seen[V];
#pragma GCC unroll 2
            for (int v = 0; v < V; v++) seen[v] = load(in + kernel.taps[t] + v * LANES);
#pragma GCC unroll 10
            for (int o = 0; o < O; o++)
#pragma GCC unroll 2
                for (int v = 0; v < V; v++) sums[o][v] += numbers[o] * seen[v];
        }
#pragma GCC unroll 10
    for (int o = 0; o < O; o++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) made[o][v] = sums[o][v];
}

// Make one row of `O` output channels; keep(channel, x, left, value) is given each register of it.
template <int O, class Keep>
void row_of_tile(const float *in, long plane, int channels, Kernel kernel, int first, int columns, Keep &keep) {
    kernel.numbers += long(first) * channels * kernel.count, kernel.bias += first;
    for (int x = 0; x < columns; x += 2 * LANES) {
        Lanes made[O][2];
        sum<O, 2>(made, in + x, plane, channels, kernel);
        int left = columns - x;
#pragma GCC unroll 10
        for (int o = 0; o < O; o++) {  // no variable index, for which all sums would have to leave the registers
            keep(first + o, x, left, made[o][0]);
            if (left > LANES) keep(first + o, x + LANES, left - LANES, made[o][1]);
        }
    }
}

// Make one row of all output channels: multiples of the tile, or the two of a displacement.
template <class Keep>
void row_of(const float *in, long plane, int channels, Kernel kernel, int outs, int columns, Keep keep) {
    for (int first = 0; first < outs; first += TILE)
        if (outs == 2) row_of_tile<2>(in, plane, channels, kernel, first, columns, keep);
        else row_of_tile<TILE>(in, plane, channels, kernel, first, columns, keep);
}

// A 3 x 3 convolution; keep(y, channel, x, left, value) is given each register of the result.
template <class Keep>
void convolve(Map in, int outs, int dilation, Run &run, Keep keep) {
    long taps[9];
    for (int i = 0; i < 9; i++) taps[i] = dilation * ((i / 3 - 1) * in.row() + i % 3 - 1);
    const float *numbers = run.weights.take(9L * in.channels * outs), *bias = run.weights.take(outs);
    share(in.rows, run.threads, [&](int y, int) {
        row_of(in.at(0, y), in.plane(), in.channels, {taps, 9, numbers, bias}, outs, in.columns,
               [&](int c, int x, int left, Lanes value) { keep(y, c, x, left, value); });
    });
}

struct Moments {
    double mean, variance;
};

float total(Lanes lanes) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += lanes[i];
    return sum;
}

// Mean and variance of a channel, row by row (Chan et al. 1983), so that nothing cancels.
Moments moments(Map map, int channel) {
    double mean = 0, squares = 0, columns = map.columns;
    const int whole = map.columns / LANES * LANES;
    for (int y = 0; y < map.rows; y++) {
        const float *row = map.at(channel, y);
        Lanes sums{}, apart{};
        for (int x = 0; x < map.columns; x += LANES) sums += load(row + x);  // zeros come after a row
        float own = total(sums) / map.columns;
        for (int x = 0; x < whole; x += LANES) apart += (load(row + x) - own) * (load(row + x) - own);
        float about = total(apart);
        for (int x = whole; x < map.columns; x++) about += (row[x] - own) * (row[x] - own);
        double delta = own - mean;
        mean += delta / (y + 1);
        squares += about + delta * delta * columns * y / (y + 1);
    }
    return {mean, squares / (columns * map.rows)};
}

// Instance normalisation in place, and its activation.
void normalise(Map map, Map activated, Run &run) {
    const float *weight = run.weights.take(map.channels), *bias = run.weights.take(map.channels);
    share(map.channels, run.threads, [&](int c, int) {
        Moments of = moments(map, c);
        float mean = of.mean, scale = weight[c] / std::sqrt(of.variance + EPSILON);
        for (int y = 0; y < map.rows; y++)
            for (int x = 0; x < map.columns; x += LANES) {
                Lanes value = (load(map.at(c, y) + x) - mean) * scale + bias[c];
                put(map.at(c, y) + x, value, map.columns - x);
                put(activated.at(c, y) + x, leaky(value), map.columns - x);
            }
    });
}

// AtrousBlock; `in` may be level.x, where the result goes.
Map block(Map in, Level &level, int outs, bool norm, Run &run) {
    Map residual = level.residual.part(0, outs), once = level.once.part(0, outs);
    Map twice = level.twice.part(0, outs), made = level.x.part(0, outs);
    convolve(in, outs, 1, run, [&](int y, int c, int x, int left, Lanes value) {
        put(residual.at(c, y) + x, value, left);
        if (!norm) put(once.at(c, y) + x, leaky(value), left);
    });
    if (norm) normalise(residual, once, run);
    convolve(once, outs, 1, run, [&](int y, int c, int x, int left, Lanes value) {
        put(twice.at(c, y) + x, leaky(value), left);
    });
    convolve(twice, outs, 3, run, [&](int y, int c, int x, int left, Lanes value) {
        put(made.at(c, y) + x, leaky(value + load(residual.at(c, y) + x)), left);
    });
    return made;
}

Map blocks(Map in, Level &level, const int (&widths)[3], bool norm, Run &run) {
    for (int outs : widths) in = block(in, level, outs, norm, run);
    return in;
}

// A 4 x 4 convolution with stride 2, then plus `added`, then times `factor`, by channel where they are given.
Map down(Map in, Map whole, const float *added, const float *factor, Run &run) {
    Map out = whole.part(0, in.channels);
    // Rows are taken apart into odd and even columns: tap k of pixel x is column 2 x + k - 1.
    long half = Map::stride(out.columns), taps[16];
    for (int k = 0; k < 4; k++) {
        const long of_column[4] = {-1, half, 0, half + 1};
        for (int i = 0; i < 4; i++) taps[4 * k + i] = 2 * k * half + of_column[i];
    }
    const float *numbers = run.weights.take(16L * in.channels * out.channels);
    const float *bias = run.weights.take(out.channels);
    share(out.rows, run.threads, [&](int y, int thread) {
        float *apart = run.scratch + thread * run.each + BEFORE;
        for (int c = 0; c < in.channels; c++)
            for (int k = 0; k < 4; k++) {
                const float *row = in.at(c, 2 * y + k - 1);
                float *odd = apart + (8 * c + 2 * k) * half, *even = odd + half;
                for (int x = -1; x <= out.columns; x++) odd[x] = row[2 * x + 1], even[x] = row[2 * x];
            }
        row_of(apart, 8 * half, in.channels, {taps, 16, numbers, bias}, out.channels, out.columns,
               [&](int c, int x, int left, Lanes value) {
                   if (added) value += added[c];
                   if (factor) value *= factor[c];
                   put(out.at(c, y) + x, value, left);
               });
    });
    return out;
}

// A transposed 4 x 4 convolution with stride 2, plus `added`: pixels of either parity are a 2 x 2 convolution each.
void up(Map in, Map out, const float *added, Run &run) {
    const float *numbers = run.weights.take(16L * in.channels * out.channels);
    const float *bias = run.weights.take(out.channels);
    const long phase = 4L * in.channels * TILE;  // numbers of one parity of rows and columns of a tile
    share(out.rows, run.threads, [&](int y, int) {
        long above = (y % 2 ? 1 : -1) * in.row();
        for (int first = 0; first < out.channels; first += TILE)
            for (int x = 0; x < in.columns; x += LANES) {
                int left = std::min(LANES, in.columns - x);
                for (int parity = 0; parity < 2; parity++) {
                    long beside = parity ? 1 : -1, taps[4] = {0, beside, above, above + beside};
                    Lanes made[TILE][1];
                    long skipped = (first / TILE * 4 + y % 2 * 2 + parity) * phase;
                    sum<TILE, 1>(made, in.at(0, y / 2) + x, in.plane(), in.channels,
                                 {taps, 4, numbers + skipped, bias + first});
#pragma GCC unroll 10
                    for (int o = 0; o < TILE; o++) {
                        float values[LANES], *to = out.at(first + o, y) + 2 * x + parity;
                        put(values, made[o][0] + added[first + o], LANES);
                        for (int i = 0; i < left; i++) to[2 * i] = values[i];
                    }
                }
            }
    });
}

// Copy `in` to `out`, plus a number for each channel.
void add(const float *in, long plane, long row, Map out, const float *added, int threads) {
    share(out.channels, threads, [&](int c, int) {
        for (int y = 0; y < out.rows; y++)
            for (int x = 0; x < out.columns; x++) out.at(c, y)[x] = in[c * plane + y * row + x] + added[c];
    });
}

long scratch_size(int columns) { return 8L * WIDEST[2] * Map::stride(columns); }

Map cut(float *&space, int channels, int rows, int columns) {
    Map map{space + MARGIN * Map::stride(columns) + BEFORE, channels, rows, columns};
    space += Map::size(channels, rows, columns);
    return map;
}

}  // namespace

extern "C" {

// Output channels of a tile, as kernels must be packed.
int drdm_tile() { return TILE; }

// Numbers of the space that drdm_pass works in, which must be zeros the first time.
long drdm_space(int channels, int rows, int columns, int threads) {
    long total = Map::size(channels, rows, columns) + threads * scratch_size(columns / 2);
    for (int i = 0; i < LEVELS; i++) total += Map::size(6 * WIDEST[i], rows >> i, columns >> i);
    return total;
}

// Take an image (channels, rows, columns) to its displacement (2, rows, columns), not clamped yet.
// `times` are those of `Times`, one after the other, the first for each channel. Rows and columns are multiples of 8.
void drdm_pass(const float *image, int channels, int rows, int columns, const float *times, const float *weights,
               float *space, float *displacement, int threads) {
    Map in = cut(space, channels, rows, columns);
    Level levels[LEVELS];
    for (int i = 0; i < LEVELS; i++) {
        auto maps = [&](int count) { return cut(space, count * WIDEST[i], rows >> i, columns >> i); };
        levels[i] = {maps(1), maps(1), maps(1), maps(1), maps(2)};
    }
    Run run{{weights}, space, scratch_size(columns / 2), threads};
    Weights told{times};
    const float *of_image = told.take(channels), *of_b2 = told.take(10), *of_b3 = told.take(20);
    const float *of_middle = told.take(40), *of_b4 = told.take(80), *of_b5 = told.take(40), *of_out = told.take(20);
    const float *before[3] = {of_b2, of_b3, nullptr}, *joined[3] = {of_out, of_b5, of_b4};

    add(image, long(rows) * columns, columns, in, of_image, threads);
    for (int i = 0; i < 3; i++) {
        int width = ENCODER[i];
        for (int turn = 0; turn < 3; turn++) in = block(in, levels[i], width, true, run);
        add(in.first, in.plane(), in.row(), levels[i].joined.part(0, width), joined[i], threads);
        in = down(in, levels[i + 1].x, before[i], i == 2 ? of_middle : nullptr, run);
    }
    in = blocks(in, levels[3], MIDDLE, true, run);
    for (int i = 2; i >= 0; i--) {
        up(in, levels[i].joined.part(ENCODER[i], ENCODER[i]), joined[i] + ENCODER[i], run);
        in = blocks(levels[i].joined, levels[i], DECODER[i], false, run);
    }
    convolve(in, 2, 1, run, [&](int y, int c, int x, int left, Lanes value) {
        put(displacement + (long(c) * rows + y) * columns + x, value, left);
    });
}
}
