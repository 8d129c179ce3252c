#!/usr/bin/env bash
# All that a GPU is wanted for, in one command of a few minutes, what matters most first. Every step by itself: one that
# fails, or takes too long, leaves the others their turn, and what it has found by then is in RESULTS.
#
#   bash benchmarks/gpu_once.sh RESULTS [first]          smoke, tests, benchmarks
#   bash benchmarks/gpu_once.sh RESULTS second [FIRST]   the tests that failed, or were not reached, in the results FIRST (else
#                                                        all), the curves of learning, benchmarks, profiles, a memory check
#
# Needs python3 with torch, triton and pytest; no network and no git. Set
#   PREPARED  what `make gpu-cache` has made (benchmarks/gpu_cache): compiled kernels, and packages that python3 may lack
#   COMMIT    what is measured, where no git tells
#   PYTHON    another python3
#   BUDGET    seconds that all of it may take (480); what no time is left for is left out

set -uo pipefail # not -e
cd "$(dirname "$0")/.." || exit 2

say() { echo "$*" >&2; }

RESULTS=${1:-} WHICH=${2:-first} FIRST=${3:-}
PYTHON=${PYTHON:-python3} BUDGET=${BUDGET:-480} PREPARED=${PREPARED:-benchmarks/gpu_cache}
[ -n "$RESULTS" ] || { say "Say where the results go: bash benchmarks/gpu_once.sh RESULTS [first|second [FIRST]]"; exit 2; }
case $WHICH in first | second) ;; *) say "'$WHICH' is neither 'first' nor 'second'."; exit 2 ;; esac
[ -z "$FIRST" ] || [ -f "$FIRST/tests.jsonl" ] || { say "$FIRST has no tests.jsonl of a first pass."; exit 2; }
command -v "$PYTHON" > /dev/null || { say "There is no '$PYTHON' here; name one: PYTHON=/path/to/python3 bash benchmarks/gpu_once.sh ..."; exit 2; }
timeout 90 "$PYTHON" -c 'import importlib.util as u, sys
if not (u.find_spec("torch") and u.find_spec("triton")): sys.exit(3)
import torch
sys.exit(not torch.cuda.is_available())'
case $? in
  0) ;;
  3) say "$PYTHON has no torch and triton."; exit 2 ;;
  124) say "$PYTHON has not imported torch within 90 s."; exit 2 ;;
  *) say "$PYTHON's torch finds no CUDA GPU here."; exit 2 ;;
esac

mkdir -p "$RESULTS" && RESULTS=$(cd "$RESULTS" && pwd) || exit 2
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
export CORES=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc) # which takes these for the number of cores
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
export TRITON_CACHE_DIR=$SCRATCH/triton GPU_PEERS=$SCRATCH/peers
COMMIT=${COMMIT:-$(git describe --always --abbrev=12 --dirty 2> /dev/null || cat "$PREPARED/commit" 2> /dev/null)}

install() { # FOLDER INTO: the wheels of a folder, if it has any
  ls "$1"/*.whl > /dev/null 2>&1 || { say "$1 has no wheels: what they hold has to be here already."; return; }
  timeout 60 "$PYTHON" -m pip install -q --disable-pip-version-check --no-index --no-deps --no-compile --no-cache-dir --target "$2" "$1"/*.whl
}

step() { # FILE LIMIT COMMAND...: appends to a file of the results, and shows, what the command says within so many seconds
  local file=$RESULTS/$1 limit=$2 left=$((BUDGET - SECONDS)) code
  shift 2
  limit=$((limit < left ? limit : left))
  [ "$limit" -gt 5 ] || { echo "== no time is left of $BUDGET s for $*" | head -n 1 | cut -c1-200 | tee -a "$file"; return; }
  echo "== $(date +%T) $*" | head -n 1 | cut -c1-200 | tee -a "$file"
  timeout -s INT -k 12 "$limit" "$@" 2>&1 | tee -a "$file"
  code=${PIPESTATUS[0]}
  [ "$code" = 0 ] || echo "== ended with code $code$([ "$code" = 124 ] && echo " after $limit s")" | tee -a "$file"
}

machine() {
  nvidia-smi
  "$PYTHON" -c 'import platform, torch, triton, numpy; print("python", platform.python_version(), "torch", torch.__version__,
    "triton", triton.__version__, "numpy", numpy.__version__, "on", torch.cuda.get_device_name())'
  env | grep -i TRITON
  echo "commit $COMMIT; $CORES cores"
}

mkdir -p "$TRITON_CACHE_DIR"
if [ -f "$PREPARED/kernels.tar.gz" ]; then timeout 60 "$PYTHON" benchmarks/kernel_archive.py "$PREPARED/kernels.tar.gz" "$TRITON_CACHE_DIR"
else say "$PREPARED has no kernels.tar.gz: kernels are compiled here, which takes minutes (make gpu-cache makes it)."; fi
install "$PREPARED/wheels" "$SCRATCH/site"
export PYTHONPATH=$SCRATCH/site:$PWD:$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}
timeout 60 "$PYTHON" -c 'import gymnasium' 2> /dev/null || { say "$PYTHON has no gymnasium, nor has $PREPARED/wheels."; exit 2; }

step smoke.txt 30 bash -c "$(declare -f machine); PYTHON='$PYTHON' COMMIT='$COMMIT' machine"
step smoke.txt 60 "$PYTHON" benchmarks/gpu_smoke.py

tests=(tests/gpu --ignore tests/gpu/test_sanitizer.py)
if [ "$WHICH" = first ]; then tests+=(--ignore tests/gpu/test_learning.py)
elif [ -n "$FIRST" ]; then
  mapfile -t tests < <("$PYTHON" benchmarks/outcomes.py "$FIRST/tests.jsonl")
  tests+=(tests/gpu/test_learning.py)
fi
options=()
"$PYTHON" -c 'import pytest_timeout' 2> /dev/null && options+=(--timeout 60)
"$PYTHON" -c 'import xdist' 2> /dev/null && options+=(-n "$((CORES < 12 ? CORES : 12))" --dist worksteal)
OUTCOMES=$RESULTS/tests.jsonl step tests.txt 150 "$PYTHON" -m pytest -m gpu -p no:cacheprovider -p outcomes --tb=short \
  "${options[@]}" "${tests[@]}"

mkdir -p "$GPU_PEERS"
for folder in "$PREPARED"/peers/*/; do [ -d "$folder" ] && install "$folder" "$GPU_PEERS/$(basename "$folder")"; done
sections=(policy training transitions statistics solve replay peers)
[ "$WHICH" = first ] || sections+=(compile)
step benchmarks.txt 230 "$PYTHON" benchmarks/gpu.py --sections "${sections[@]}" \
  --rounds 3 --limit 100 --out "$RESULTS" --commit "$COMMIT"

if [ "$WHICH" = second ]; then
  for profiled in policy:rollout_kernel training:ppo_gradient transitions:simulate_kernel; do
    step profile.txt 30 ncu --clock-control none --section SpeedOfLight --section Occupancy --section WarpStateStats \
      --profile-from-start off -k "regex:${profiled#*:}" -c 1 --kill yes "$PYTHON" benchmarks/gpu.py --once "${profiled%:*}"
  done
  step memcheck.txt 80 "$PYTHON" -m pytest -m gpu -p no:cacheprovider --tb=short tests/gpu/test_sanitizer.py -k memcheck
fi
echo "== $(date +%T) done; results in $RESULTS:"
ls "$RESULTS"
