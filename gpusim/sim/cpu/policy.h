// A policy and its value function on a tile: gpusim.kernels.policy.MlpPolicy, and gpusim.kernels.sampling's draws.

constexpr int WIDEST = 256, ROWS = 4, ACROSS = G < 4 ? G : 2 * (V / 8);  // units of a layer; of a block of a product
constexpr uint32_t POLICY_BLOCK = 4 * 256;

template <int rows> INLINE void block(const float* w, const float* b, int inputs, const F (*x)[G], F (*y)[G], int i) {
    F sum[rows][ACROSS];
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < ACROSS; k++) sum[r][k] = of<F>(b[r]);
    for (int d = 0; d < inputs; d++)
        for (int r = 0; r < rows; r++)
            for (int k = 0; k < ACROSS; k++) sum[r][k] = fma_(of<F>(w[r * inputs + d]), x[d][i + k], sum[r][k]);
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < ACROSS; k++) y[r][i + k] = sum[r][k];
}

static void dense(const float* w, int inputs, int outputs, const F (*x)[G], F (*y)[G]) {  // weights [out, in], then biases
    const float* b = w + outputs * inputs;
    int o = 0;
    for (; o + ROWS <= outputs; o += ROWS)
        for (int i = 0; i < G; i += ACROSS) block<ROWS>(w + o * inputs, b + o, inputs, x, y + o, i);
    for (; o < outputs; o++)
        for (int i = 0; i < G; i += ACROSS) block<1>(w + o * inputs, b + o, inputs, x, y + o, i);
}

template <class Env> struct Actor {
    static constexpr int D = Env::OBS, A = Env::ACTIONS;
    const Job& job;
    F features[D + 1][G], hidden[2][WIDEST][G], out[32][G], values[G];
    float waiting[D + 1][2 * LANES];  // final observations whose values are still wanted
    int64_t places[2 * LANES];
    int count = 0;

    explicit Actor(const Job& job) : job(job) {}

    int64_t size(int outputs) const {
        return job.hidden1 * D + job.hidden1 + job.hidden2 * job.hidden1 + job.hidden2 + outputs * job.hidden2 + outputs;
    }
    const float* actor() const { return job.weights + (job.gaussian ? job.outputs : 0); }
    const float* critic() const { return actor() + size(job.outputs); }

    void activate(F (*y)[G], int units) {
        for (int u = 0; u < units; u++)
            for (int i = 0; i < G; i++) y[u][i] = job.relu ? maximum(y[u][i], F{}) : tanh_(y[u][i]);
    }

    void perceptron(const float* w, const F (*x)[G], int outputs, F (*y)[G]) {
        dense(w, D, job.hidden1, x, hidden[0]), activate(hidden[0], job.hidden1);
        w += job.hidden1 * (D + 1);
        dense(w, job.hidden1, job.hidden2, hidden[0], hidden[1]), activate(hidden[1], job.hidden2);
        w += job.hidden2 * (job.hidden1 + 1);
        dense(w, job.hidden2, outputs, hidden[1], y);
    }

    void look(const F (*seen)[G]) {
        for (int d = 0; d < D; d++)
            for (int i = 0; i < G; i++) features[d][i] = normalized(seen[d][i], d);
    }
    F normalized(F x, int d) const {
        if (!job.mean || !job.scale) return x;
        return minimum(maximum((x - job.mean[d]) * job.scale[d], of<F>(-10.0f)), of<F>(10.0f));
    }

    void value() {
        F y[1][G];
        perceptron(critic(), features, 1, y);
        for (int i = 0; i < G; i++) values[i] = y[0][i];
    }

    void categorical(int i, const U (&word)[4], I& sample, F& log_prob) const {
        F most = out[0][i], total = F{}, below = F{}, chosen = F{};
        for (int a = 1; a < job.outputs; a++) most = maximum(most, out[a][i]);
        for (int a = 0; a < job.outputs; a++) total += exp_(out[a][i] - most);
        const F threshold = to_f(as_i(word[0] >> 8)) * 0x1p-24f * total;
        sample = I{};
        for (int a = 0; a < job.outputs - 1; a++) below += exp_(out[a][i] - most), sample -= ge(threshold, below);
        for (int a = 0; a < job.outputs; a++) chosen = where(eq(sample, of<I>(a)), out[a][i] - most, chosen);
        log_prob = chosen - log_(total);
    }

    // What is drawn at what was looked at: `action` for the environment; told in row t.
    template <class Run> void act(Run& run, int64_t t) {
        const int64_t clock = job.clock + t;
        perceptron(actor(), features, job.outputs, out);
        for (int i = 0; i < G; i++) {
            const int64_t place = run.at_env(t, i), left = run.left(i);
            U word[4];
            F log_prob = F{};
            const auto draw = [&](int n) {
                philox(run.k0, run.k1, run.s.index[i], of<U>((uint32_t)clock), of<U>((uint32_t)(clock >> 32)), of<U>(POLICY_BLOCK + n), word);
            };
            if constexpr (Env::DISCRETE) {
                draw(0);
                I sample;
                categorical(i, word, sample, log_prob);
                run.action[0][i] = sample;
                put((int32_t*)job.sample + place, sample, left);
            } else {
                for (int k = 0; k < A; k++) {
                    if (k % 2 == 0) draw(k / 2);
                    const float log_std = minimum(maximum(job.weights[k], +Env::LOG_STD[0]), +Env::LOG_STD[1]);
                    const F radius = to_f(as_i((word[k % 2 * 2] >> 8) + 1)) * 0x1p-24f;
                    const F turn = to_f(as_i(word[k % 2 * 2 + 1] >> 8)) * 0x1p-24f;
                    const F noise = sqrt_(log_(radius) * -2.0f) * cos_(turn * 6.28318530717958647f);
                    const F sample = out[k][i] + noise * std::exp(log_std);
                    log_prob += noise * noise * -0.5f - log_std - 0.918938533204672742f;
                    const F within = minimum(maximum(sample, of<F>(-1.0f)), of<F>(1.0f));
                    run.action[k][i] = job.centre && job.half ? job.centre[k] + job.half[k] * within : sample;
                    put((float*)job.sample + (t * A + k) * job.num_envs + run.first + i * V, sample, left);
                }
            }
            put(job.log_prob + place, log_prob, left);
        }
    }

    // The values of what is acted on at step t, which are those of what step t - 1 led to, but where an episode ended.
    template <class Run> void tell(const Run& run, int64_t t) {
        value();
        for (int i = 0; i < G; i++) {
            if (t < job.steps) put(job.value + run.at_env(t, i), values[i], run.left(i));
            if (!t) continue;
            F next = values[i];
            for (int k = 0; k < V; k++)
                if (run.begun >> (i * V + k) & 1) next[k] = 0.0f;
            put(job.next_value + run.at_env(t - 1, i), next, run.left(i));
        }
        while (count >= LANES || (t == job.steps && count > 0)) tell_waiting();
    }

    // Where an episode was cut short by step t: what it would have been worth.
    template <class Run> void wait(const Run& run, int64_t t, int lane, const F (*seen)[G]) {
        for (int d = 0; d < D; d++) waiting[d][count] = at<const float>(seen[d], lane);
        places[count++] = t * job.num_envs + run.first + lane;
    }

    void tell_waiting() {
        const int some = count < LANES ? count : LANES;
        for (int d = 0; d < D; d++)
            for (int i = 0; i < G; i++) features[d][i] = normalized(get<F>(waiting[d] + i * V, some - i * V), d);
        value();
        for (int k = 0; k < some; k++) job.next_value[places[k]] = at<const float>(values, k);
        count -= some;
        memmove(places, places + some, count * sizeof *places);
        for (int d = 0; d < D; d++) memmove(waiting[d], waiting[d] + some, count * sizeof **waiting);
    }
};
