// Steps of environments, a tile at a time: `Env`, which gpusim.sim.cpu.emit has written, is one environment with its rules; its
// functions are of vector `i` of a tile, or of a single lane of it.

struct Sums { F episodes[G], returns[G], lengths[G]; };

struct Out { F reward; I terminated, truncated, reset, valid; F total, length; };

template <class Env> struct Run {
    using Tile = typename Env::Tile;
    using Action = typename Env::Action;
    using Cell = typename Env::Cell;
    Job& job;
    Tile& s;
    const int64_t first;  // environment of the tile
    const int here;       // environments in it
    const uint32_t k0, k1;
    Action action[Env::ACTIONS][G];
    U drawn[4][G];
    int64_t block = -1;  // of random actions, that `drawn` holds
    F seen[Env::OBS + 1][G];
    uint64_t begun = 0;  // a bit for each lane whose episode has just begun
    uint64_t cut = 0;    // and for each that ended by the time limit alone

    Run(Job& job, int64_t tile)
        : job(job), s(((Tile*)job.tiles)[tile]), first(tile * LANES),
          here(job.num_envs - first < LANES ? job.num_envs - first : LANES),
          k0((uint32_t)job.seed), k1((uint32_t)(job.seed >> 32)) {}

    int64_t left(int i) const { return here - i * V; }
    int64_t at_env(int64_t t, int i) const { return t * job.num_envs + first + i * V; }

    void start(int lane) {
        at<uint32_t>(s.episode, lane) += 1;
        Env::begin(s, job.tables, lane, k0, k1);
    }

    void reset_masked() {
        for (int lane = 0; lane < LANES; lane++) {
            if (lane < here ? !job.begin[first + lane] : !job.begin[first]) continue;
            at<float>(s.elapsed, lane) = at<float>(s.total, lane) = 0;
            at<int32_t>(s.terminated, lane) = at<int32_t>(s.truncated, lane) = 0;
            start(lane), begun |= 1ull << lane;
        }
    }

    void draw_actions(int64_t clock) {
        for (int j = 0; j < Env::ACTIONS; j++) {
            const int64_t number = clock * Env::ACTIONS + j;
            if (number / 4 != block) {
                block = number / 4;
                for (int i = 0; i < G; i++) {
                    U word[4];
                    philox(k0, k1, s.index[i], of<U>((uint32_t)block), of<U>((uint32_t)(block >> 32)), of<U>(Env::ACTION_BLOCK), word);
                    for (int k = 0; k < 4; k++) drawn[k][i] = word[k];
                }
            }
            for (int i = 0; i < G; i++) action[j][i] = Env::random_action(drawn[number % 4][i], j);
        }
    }

    void take_actions() {
        for (int j = 0; j < Env::ACTIONS; j++)
            for (int i = 0; i < G; i++) {
                const int64_t place = j * job.num_envs + first + i * V;
                if (job.wide) action[j][i] = (Action)to_i(get<L>((const int64_t*)job.actions + place, left(i)));
                else action[j][i] = get<Action>((const typename Env::ActionNumber*)job.actions + place, left(i));
            }
    }

    void look() {
        for (int i = 0; i < G; i++) look(i);
    }
    void look(int i) {
        F o[Env::OBS + 1];
        Env::observe(s, job.tables, i, o);
        for (int k = 0; k < Env::OBS; k++) seen[k][i] = o[k];
    }

    void put_seen(void* to, int64_t t) {
        for (int k = 0; k < Env::OBS; k++)
            for (int i = 0; i < G; i++)
                put((float*)to + (t * Env::OBS + k) * job.num_envs + first + i * V, seen[k][i], left(i));
    }

    // Images; `from`, where it is given, holds those of all lanes but the ones whose episode has begun since.
    void put_pictures(void* to, int64_t t, const void* from, int64_t t_from) {
        for (int lane = 0; lane < here; lane++) {
            Cell* image = (Cell*)to + (t * job.num_envs + first + lane) * Env::CELLS;
            if (from && !(begun >> lane & 1))
                memcpy(image, (const Cell*)from + (t_from * job.num_envs + first + lane) * Env::CELLS, Env::CELLS * sizeof(Cell));
            else
                Env::picture(s, job.tables, lane, image);
        }
    }

    void tell(int64_t t, int i, const Out& out) {
        const int64_t place = at_env(t, i), n = left(i);
        if (n <= 0) return;
        if (job.reward) put(job.reward + place, out.reward, n);
        if (job.terminated) put_flags(job.terminated + place, out.terminated, n);
        if (job.truncated) put_flags(job.truncated + place, out.truncated, n);
        if (job.reset) put_flags(job.reset + place, out.reset, n);
        if (job.valid) put_flags(job.valid + place, out.valid, n);
        if (job.ended) {
            const I over = (out.terminated | out.truncated) & out.valid;
            put_flags(job.ended + place, over, n), put_flags(job.ended_too + place, over, n);
        }
        if (job.episode_return) put(job.episode_return + place, out.total, n);
        if (job.episode_length) put(job.episode_length + place, out.length, n);
        if (job.episode_steps) put(job.episode_steps + place, to_i(out.length), n);
        if (job.action)
            for (int j = 0; j < Env::ACTIONS; j++)
                put((typename Env::ActionNumber*)job.action + (t * Env::ACTIONS + j) * job.num_envs + first + i * V, action[j][i], n);
    }

    // One step of all lanes, up to the beginnings that are due.
    void step(int64_t t, Sums& sums) {
        begun = cut = 0;
        for (int i = 0; i < G; i++) {
            const Out out = Env::step(s, job.tables, i, action, sums, k0, k1);
            if (Env::TELLS) tell(t, i, out);
            begun |= (uint64_t)bits(out.reset) << i * V;
            if (Env::ACTS) cut |= (uint64_t)bits(out.truncated & ~out.terminated) << i * V;
        }
        if (here < LANES) cut &= (1ull << here) - 1;
    }

    void begin_due() {
        for (uint64_t left = begun; left; left &= left - 1) start(__builtin_ctzll(left));
    }

    void operator()(Actor<Env>* actor) {
        const bool flat = Env::CELLS == 0, tells = Env::TELLS, wants_obs = tells && (job.obs || job.next_obs);
        Sums sums = {};
        if (job.begin) reset_masked();
        if (flat && tells && (job.obs || Env::ACTS || !job.steps)) look();
        for (int64_t t = 0; t < job.steps; t++) {
            if (tells && job.obs) {
                if (flat) put_seen(job.obs, t);
                else put_pictures(job.obs, t, t ? job.next_obs : nullptr, t - 1);
            }
            if constexpr (Env::ACTS) actor->look(seen), actor->act(*this, t), actor->tell(*this, t);
            else if (tells && job.actions) take_actions();
            else draw_actions(job.clock + t);
            step(t, sums);
            if (Env::SAME_STEP && wants_obs) {
                if (flat) look();
                if (flat && job.next_obs) put_seen(job.next_obs, t);
                if (!flat && job.next_obs) put_fresh(job.next_obs, t);
            }
            if constexpr (Env::ACTS)
                for (uint64_t left = cut; left; left &= left - 1) actor->wait(*this, t, __builtin_ctzll(left), seen);
            begin_due();
            if (!Env::SAME_STEP && wants_obs) {
                if (flat) look();
                if (flat && job.next_obs) put_seen(job.next_obs, t);
                if (!flat && job.next_obs) put_fresh(job.next_obs, t), begun = 0;
            }
            if (Env::SAME_STEP && flat && wants_obs && begun) look();
        }
        if constexpr (Env::ACTS) actor->look(seen), actor->tell(*this, job.steps);
        if (tells && job.last_obs) {
            if (flat) { if (!wants_obs && job.steps) look(); put_seen(job.last_obs, 0); }
            else put_pictures(job.last_obs, 0, job.steps ? job.next_obs : nullptr, job.steps - 1);
        }
        if (job.episodes) add(sums);
    }

    void put_fresh(void* to, int64_t t) { put_pictures(to, t, nullptr, 0); }

    void add(const Sums& sums) {
        for (int lane = 0; lane < here; lane++) {
            job.episodes[first + lane] += at<const float>(sums.episodes, lane);
            job.return_sum[first + lane] += at<const float>(sums.returns, lane);
            job.length_sum[first + lane] += at<const float>(sums.lengths, lane);
        }
    }
};

template <class Env> void run_tiles(Job& job) {
    Actor<Env>* actor = Env::ACTS ? new Actor<Env>(job) : nullptr;
    for (int64_t tile; (tile = __atomic_fetch_add(&job.next, 1, __ATOMIC_RELAXED)) < job.count;) Run<Env>(job, tile)(actor);
    delete actor;
}
