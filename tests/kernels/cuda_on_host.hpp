// Enough of CUDA to run one block of a kernel on the host: a thread for each CUDA thread, a barrier for each warp.
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>
using std::exp; using std::fabs; using std::log; using std::log1p; using std::nan; using std::tanh;
#define __global__
#define __shared__ static
struct Index { unsigned x; };
static thread_local Index threadIdx, blockIdx;
static Index blockDim, gridDim;
static std::vector<std::unique_ptr<std::barrier<>>> warp_barriers;
static std::unique_ptr<std::barrier<>> block_barrier;
static double real_slots[1024];
static long long integer_slots[1024];

static float __int_as_float(int bits) { float value; std::memcpy(&value, &bits, sizeof value); return value; }
static void __syncthreads() { block_barrier->arrive_and_wait(); }

template <typename V, typename S> static V exchange(V value, int step, S* slots)
{
    auto& barrier = *warp_barriers[threadIdx.x >> 5];
    slots[threadIdx.x] = value;
    barrier.arrive_and_wait();
    const V other = V(slots[threadIdx.x ^ step]);
    barrier.arrive_and_wait();
    return other;
}
static float __shfl_xor_sync(unsigned, float v, int step) { return exchange(v, step, real_slots); }
static double __shfl_xor_sync(unsigned, double v, int step) { return exchange(v, step, real_slots); }
static long long __shfl_xor_sync(unsigned, long long v, int step) { return exchange(v, step, integer_slots); }

template <typename Body> static void launch(unsigned blocks, unsigned threads, Body body)
{
    gridDim.x = blocks;
    blockDim.x = threads;
    for (unsigned block = 0; block < blocks; ++block) {
        warp_barriers.clear();
        for (unsigned w = 0; w < threads / 32; ++w) warp_barriers.push_back(std::make_unique<std::barrier<>>(32));
        block_barrier = std::make_unique<std::barrier<>>(threads);
        std::vector<std::thread> pool;
        for (unsigned t = 0; t < threads; ++t)
            pool.emplace_back([=] { threadIdx.x = t; blockIdx.x = block; body(); });
        for (auto& thread : pool) thread.join();
    }
}
