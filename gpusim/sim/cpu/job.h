// What is asked of the C++ that gpusim.sim.cpu.emit has written; gpusim.sim.cpu.native.Job is its twin.

constexpr int LANES = 64, G = LANES / V;  // of a tile; its vectors

struct Table { const void* data; int64_t rows; };  // of gpusim.Env.tables

struct Job {  // all numbers and pointers are of 8 bytes; a null pointer: not given, not wanted
    void* tiles;
    int64_t next, count, num_envs, steps, clock;  // next: the tile that the next thread takes
    uint64_t seed;
    const uint8_t* begin;  // [N] where a new episode is to begin before the first step
    int64_t wide;          // whether the actions given are int64
    const void* actions;   // [d, N] int or float32 of one step; without, they are drawn
    void *obs, *next_obs, *last_obs;  // [T, d, N] float32, or images [T, N, cells]; the last [d, N], [N, cells]
    void* action;                     // [T, N] or [T, d, N]
    float* reward;                    // this and the others [T, N]
    uint8_t *terminated, *truncated, *reset, *valid, *ended, *ended_too;
    float *episode_return, *episode_length;
    int32_t* episode_steps;
    float *episodes, *return_sum, *length_sum;  // [N], added to
    // A policy, see gpusim.kernels.policy.MlpPolicy, and what it tells: [T, N], samples of a Gaussian one [T, d, N].
    int64_t hidden1, hidden2, outputs, gaussian, relu;
    const float *weights, *mean, *scale, *centre, *half;
    void* sample;
    float *log_prob, *value, *next_value;
    const Table* tables;
};

template <class T, class X> INLINE T& at(X* x, int lane) { return ((T*)x)[lane]; }
