#!/usr/bin/env bash
# All that only a machine with an NVIDIA GPU can show, in two parts of at most four minutes each:
#
#     bench/gpu_check.sh [tests|figures|all] [FOLDER]        (default: all ./gpu_check-<date>)
#     bench/gpu_check.sh sanitizer FOLDER     four minutes more, where compute-sanitizer is installed
#
# The parts may run apart, in any order and on different days: given the same folder, a part goes on
# with what it lacks. So tests that have passed there are not run again, and figures that were cut
# off are measured beside those that are there. The folder gets what was seen: versions and clocks,
# the tests' output, raw samples, the generated kernels, and table.txt. The status is 0 only if every
# test passed and every benchmark ran. Tests run side by side where pytest-xdist is installed; what
# measures time runs alone.
set -uo pipefail
cd "$(dirname "$0")/.."
part=all
case ${1:-} in tests | figures | all | sanitizer) part=$1 && shift ;; esac
out=${1:-gpu_check-$(date +%Y%m%d-%H%M%S)}
python=${PYTHON:-python}
export PYTHONUNBUFFERED=1 # what is cut off has said what it found
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

missing=$("$python" -c 'from staticnet.backends.cuda import CudaBackend; print(CudaBackend().missing())') || exit 2
if [ -n "$missing" ]; then
  echo "gpu_check: this machine cannot run CUDA: $missing" >&2
  exit 2
fi
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
failed=()

total=240 # seconds of a part
passed=${SECONDS_PASSED:-0}
left() { echo $((total - passed - SECONDS)); }
say() { echo "== $1"; }
watch() { # name, seconds at most, command ...: its output on the screen and in a file
  local name=$1 limit=$2
  shift 2
  say "$name"
  [ "$limit" -le "$(left)" ] || limit=$(left)
  if [ "$limit" -le 0 ]; then
    echo "$name: cut off: $total s have passed" | tee -a "$out/$name.txt"
    failed+=("$name (cut off)")
    return
  fi
  timeout --signal=INT --kill-after=10 "$limit" "$@" 2>&1 | tee "$out/$name.txt"
  local status=${PIPESTATUS[0]} kept=${PIPESTATUS[1]}
  case $status in
  124 | 137) echo "$name: stopped after $limit s" | tee -a "$out/$name.txt" ;;
  esac
  if [ "$status" -ne 0 ]; then
    failed+=("$name ($status)")
  elif [ "$kept" -ne 0 ] || ! touch "$out/$name.done"; then
    failed+=("$name (went well, and $out does not hold what it said)")
  fi
}
once() { # as watch, unless it went well before
  if [ -e "$out/$1.done" ]; then say "$1: done before"; else watch "$@"; fi
}

say "machine"
{
  date
  git rev-parse HEAD 2>/dev/null
  nvidia-smi
  nvidia-smi -q -d CLOCK,POWER,TEMPERATURE,PERFORMANCE,ECC
  "$python" -m pip freeze
} > "$out/machine-$(date +%Y%m%d-%H%M%S).txt" 2>&1
nvidia-smi --query-gpu=timestamp,clocks.sm,clocks.mem,power.draw,temperature.gpu,utilization.gpu \
  --format=csv -lms 500 >> "$out/clocks.csv" 2>/dev/null &
clocks=$!
trap 'kill "$clocks" 2>/dev/null' EXIT

tests() {
  once doctor 30 "$python" -m staticnet doctor
  once kernels 30 "$python" -m bench.gpu.kernels "$out/kernels"
  local side_by_side=()
  "$python" -c 'import xdist' 2> /dev/null && side_by_side=(-n 8)
  once tests "$(left)" "$python" -m pytest -m gpu tests/test_gpu.py -q -rs \
    "${side_by_side[@]}" -p bench.gpu.passed --passed="$out/passed.txt"
}

figures() {
  once latency 45 "$python" -m bench.gpu.latency
  "$python" -c 'import cudnn' 2> /dev/null && once cudnn 60 "$python" -m bench.gpu.cudnn
  local suite=$(($(left) - 25)) # seconds; what has begun then has some more
  [ "$suite" -gt 0 ] || suite=1
  watch bench "$((suite + 20))" "$python" -m staticnet bench --suite gpu --rounds 5 --seconds 0.2 \
    --limit "$suite" --out "$out/raw.jsonl" --resume
  say "table"
  [ ! -e "$out/raw.jsonl" ] || "$python" -m bench.gpu.report "$out/raw.jsonl" | tee "$out/table.txt"
}

sanitizer() { # of golden graphs and training steps, as the CUDA toolkit's tool sees them
  local tool
  for tool in memcheck racecheck synccheck; do
    once "$tool" 80 compute-sanitizer --tool "$tool" --error-exitcode 1 --target-processes all \
      "$python" -m pytest -m gpu tests/test_gpu.py -q -k "golden or training_follows" \
      -p bench.gpu.passed --passed="$out/passed-$tool.txt"
  done
}

case $part in
tests | figures | sanitizer) "$part" ;;
all)
  tests
  passed=$((passed - SECONDS))
  figures
  ;;
esac

kill "$clocks" 2>/dev/null
say "all of it is in $out"
if [ ${#failed[@]} -gt 0 ]; then
  echo "gpu_check: failed: ${failed[*]}" >&2
  exit 1
fi
