#!/usr/bin/env bash
# Proves tools/slurm_array.sbatch on a real Slurm: starts one of a single node in a temporary folder, submits
# three short videos of which one is broken, checks what they leave, and stops it again.
#   bash tests/slurm/run.sh
# Needs Slurm and munge (Debian, Ubuntu: apt-get install slurm-wlm munge), not their services: what runs
# on the machine already is left alone. It takes a few minutes.
set -euo pipefail

# shellcheck source=tools/ike_tools/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/ike_tools/environment.sh"
# The tasks, in another folder, take the same environment.
[ -z "${IKE_VENV:-}" ] || export IKE_VENV=$venv

PATH=$PATH:/usr/sbin:/sbin # where distributions put the daemons
missing=()
for program in munged slurmctld slurmd sbatch scancel scontrol sinfo squeue; do
  command -v "$program" >/dev/null || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "error: not installed: ${missing[*]}; on Debian or Ubuntu: apt-get install slurm-wlm munge" >&2
  exit 2
fi

# Short and without blanks, as the name of a socket and the values of slurm.conf must be.
work=$(mktemp -d /tmp/ike-slurm.XXXXXX)
chmod 755 "$work" # munged wants its socket within everyone's reach
daemons=()
tidy_up() {
  status=$?
  trap - EXIT
  if [ ${#daemons[@]} -gt 0 ]; then
    # Jobs outlive the daemons: end them first.
    timeout 20 scancel --user="$(id -un)" 2>/dev/null || true
    for _ in {1..40}; do
      [ -n "$(timeout 20 squeue --noheader 2>/dev/null)" ] || break
      sleep 0.5
    done
    kill "${daemons[@]}" 2>/dev/null || true
    wait "${daemons[@]}" 2>/dev/null || true
  fi
  if [ "$status" = 0 ]; then
    rm -rf -- "$work"
  else
    echo "what it left, with the daemons' logs: $work" >&2
  fi
  exit "$status"
}
trap tidy_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "waited in vain for $what"
    sleep 0.5
  done
}

# ------------------------------------------------------------------------------- a Slurm of one node

mapfile -t ports < <("$PYTHON" -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for each in sockets:
    each.bind(("127.0.0.1", 0))
    print(each.getsockname()[1])')
host=$(uname -n) && host=${host%%.*}
user=$(id -un)
mkdir "$work/state" "$work/spool" "$work/munge"
chmod 755 "$work/munge"
export SLURM_CONF=$work/slurm.conf
# linuxproc, none: what else there is needs control groups, which a container may not have. The times
# are for a busy machine: how long a daemon may take to answer, and how long ended jobs are known.
cat >"$SLURM_CONF" <<CONF
ClusterName=ike
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
MessageTimeout=60
MinJobAge=3600
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF

head -c 1024 /dev/urandom >"$work/munge/key"
chmod 400 "$work/munge/key"
munged --foreground --force --key-file="$work/munge/key" --socket="$work/munge/socket" \
  --pid-file="$work/munge/pid" --seed-file="$work/munge/seed" --log-file="$work/munge/log" \
  >"$work/munged.log" 2>&1 &
daemons+=($!)
wait_for 120 "munged" test -S "$work/munge/socket"
slurmctld -D >"$work/slurmctld.log" 2>&1 &
daemons+=($!)
slurmd -D -N "$host" >"$work/slurmd.log" 2>&1 &
daemons+=($!)
idle() { [ "$(sinfo --noheader --format=%T)" = idle ]; }
wait_for 180 "an idle node" idle
echo "$(sbatch --version): one node, $host"

# ------------------------------------------------------------------- three short videos, one broken

root=$work/videos out="$work/the results"
mkdir "$root" "$work/made"
seed=0
for name in one broken three; do
  "$PYTHON" "$project/tools/make_synthetic_video.py" --out_path="$work/made/$name" \
    --n_frames=6 --height=64 --width=96 --seed=$((seed += 1)) >/dev/null
  mv "$work/made/$name/frames" "$root/$name"
done
rm "$root/broken/00003.jpg"
sed -e 's/^working_h = .*/working_h = 32/' -e 's/^working_w = .*/working_w = 48/' \
  -e 's/^n_epochs = .*/n_epochs = 1/' -e 's/^to_save_epochs = .*/to_save_epochs = 1/' \
  -e 's/^base_channels = .*/base_channels = 4/' "$project/config.ini" >"$work/small.ini"
flags=(--method=dis --cycles=2 --threshold=0 --device=cpu "--config=$work/small.ini")
list=$(bash "$project/tools/run_dataset.sh" "$root" "$out" --list)
[ "$list" = $'0 broken\n1 one\n2 three' ] || fail "--list printed: $list"

# submit NAME: runs tasks 0 to 3, of which the last has no video; the logs are NAME-TASK.log.
submit() {
  printf '\n$ sbatch --array=0-3 tools/slurm_array.sbatch ROOT OUT %s\n' "${flags[*]}"
  job=$(cd "$project" && sbatch --parsable --array=0-3 --cpus-per-task=1 --mem=0 \
    --output="$work/$1-%a.log" tools/slurm_array.sbatch "$root" "$out" "${flags[@]}")
  wait_for 1500 "the tasks of job $job" ended
}
ended() {
  local left
  left=$(squeue --noheader --job="$job") && [ -z "$left" ]
}

# expect NAME TASK STATE EXIT TEXT: how a task ended, and what its log says.
expect() {
  local log=$work/$1-$2.log said
  said=$(scontrol --oneliner show job "${job}_$2")
  [[ $said == *" JobState=$3 "* && $said == *" ExitCode=$4:0 "* ]] || fail "task $2 of $1: $said"
  grep -qF -- "$5" "$log" || fail "$log does not say: $5"
  ! grep -q Traceback "$log" || fail "$log has a traceback"
  printf 'task %s: %s, exit status %s: %s\n' "$2" "$3" "$4" "$(grep -F -- "$5" "$log" | tail -n 1)"
}

complete() {
  local folder=$out/$1/final
  [ "$(find "$folder/masks" -name '*.png' | wc -l)" = 6 ] || fail "$folder/masks is not complete"
  [[ -s "$folder/overlay.mp4" && -s "$folder/report.html" ]] || fail "$folder is not complete"
  grep -q '^2,' "$out/$1/cycles.csv" || fail "$out/$1 has not run two cycles"
}

# Every result with the time of its last change.
results() {
  find "$out" -type f -regex '.*\.\(flo\|pt\|pth\|png\|mp4\|html\)' -printf '%p %T@\n' | sort
}

# The commands that the runs of both videos have started so far.
started() {
  (cd "$out" && grep '^\$ python' one/run.log three/run.log)
}

submit first
expect first 0 FAILED 1 "failed: broken: $root/broken: frame 3 is missing"
expect first 1 COMPLETED 0 "1 of 1 done, 0 failed"
expect first 2 COMPLETED 0 "1 of 1 done, 0 failed"
expect first 3 FAILED 2 "has 3 sequences, numbered 0 to 2"
complete one
complete three
[ ! -e "$out/broken/final" ] || fail "the broken video has a result"
before=$(results) commands=$(started)
for name in one three; do
  for script in extract_optical_flow.py run_graph_module.py main.py tools/export_masks.py tools/visualize.py; do
    grep -qF "$name/run.log:\$ python $script " <<<"$commands" || fail "$name: $script was not started"
  done
done

submit second
expect second 0 FAILED 1 "failed: broken: "
expect second 1 COMPLETED 0 "1 of 1 done, 0 failed"
expect second 2 COMPLETED 0 "1 of 1 done, 0 failed"
[ "$(results)" = "$before" ] || fail "the second submission changed results"
[ "$(started)" = "$commands" ] || fail "the second submission started commands: $(started)"
printf '\nPASSED: two videos complete, the broken one said why, the second submission redid nothing\n'
