#!/usr/bin/env bash
# tools/slurm_array.sbatch against a real Slurm: one node, three short videos, one of them broken.
#   sudo bash tests/slurm/run.sh
# Needs Debian's slurm-wlm (with munge) and to be root: it starts munged, slurmctld and slurmd with files
# of their own in a temporary folder, and stops them at its end.
set -euo pipefail

# shellcheck source=tools/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/environment.sh"
cd "$project"
if [ "$(id -u)" != 0 ]; then
  echo "error: the daemons of Slurm want root; run it with sudo" >&2
  exit 2
fi
for program in munged slurmctld slurmd sbatch; do
  if ! command -v "$program" >/dev/null; then
    echo "error: $program is missing; on Debian: apt-get install slurm-wlm munge" >&2
    exit 2
  fi
done

place=$(mktemp -d /tmp/ike-slurm.XXXXXX)
chmod 755 "$place"
mkdir "$place/state" "$place/spool" "$place/data"
pids=()
stop() {
  kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$place"
}
trap stop EXIT

# A key and a socket of its own, so that a Slurm that is there already is left alone.
dd if=/dev/urandom of="$place/munge.key" bs=1024 count=1 status=none
chmod 600 "$place/munge.key"
munged --foreground --force --key-file="$place/munge.key" --socket="$place/munge.socket" \
  --pid-file="$place/munge.pid" --log-file="$place/munge.log" --seed-file="$place/munge.seed" >"$place/munged.out" 2>&1 &
pids+=($!)

host=$(hostname -s)
cat >"$place/slurm.conf" <<CONF
ClusterName=ike
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$place/munge.socket
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$place/slurm.conf
slurmctld -D >"$place/slurmctld.out" 2>&1 &
pids+=($!)
slurmd -D >"$place/slurmd.out" 2>&1 &
pids+=($!)
for _ in $(seq 60); do
  if sinfo --noheader --format=%T 2>/dev/null | grep -q idle; then break; fi
  sleep 1
done
sinfo || {
  tail -n 5 "$place"/*.log "$place"/*.out >&2
  exit 1
}

root="$place/data/three videos"
for name in good broken "another good"; do
  "$PYTHON" tools/make_synthetic_video.py --out_path="$place/data/$name" --n_frames=6 \
    --height=64 --width=96 >/dev/null
  mkdir -p "$root"
  mv "$place/data/$name/frames" "$root/$name"
done
rm "$root/broken/00003.png" 2>/dev/null || rm "$root/broken/00003.jpg"
sed -e 's/^working_h = .*/working_h = 64/; s/^working_w = .*/working_w = 96/' \
  -e 's/^base_channels = .*/base_channels = 4/; s/^n_epochs = .*/n_epochs = 1/' \
  -e 's/^to_save_epochs = .*/to_save_epochs = 1/' config.ini >"$place/small.ini"
out="$place/data/results"
bash tools/run_dataset.sh "$root" "$out" --list

# Submits the array and waits for its end; the node is small, so it asks for one core a task.
submit() {
  sbatch --wait --array=0-2 --cpus-per-task=1 --mem=0 --output="$place/log-%a.txt" \
    --export="ALL,IKE_VENV=$venv" tools/slurm_array.sbatch "$root" "$out" \
    --method=dis --cycles=2 --threshold=0 --config="$place/small.ini" || true
}
failed=0
expect() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@"; then echo "ok: $what"; else
    echo "NOT ok: $what"
    failed=1
  fi
}

submit
for name in good "another good"; do
  expect "$name has six masks" test "$(find "$out/$name/final/masks" -name '*.png' | wc -l)" = 6
  expect "$name has a report" test -s "$out/$name/final/report.html"
done
expect "the broken video's task says why" grep -q "frame 3 is missing" "$place/log-1.txt"
expect "the broken video has no result" test ! -e "$out/broken/final"
before=$(find "$out" -path '*results_pt*' -name '*.pt' -printf '%p %T@\n' | sort)
submit
after=$(find "$out" -path '*results_pt*' -name '*.pt' -printf '%p %T@\n' | sort)
expect "a second array does nothing again" test "$before" = "$after"
if [ "$failed" = 1 ]; then
  tail -n 20 "$place"/log-*.txt "$place"/*.log
  exit 1
fi
echo "Slurm $(sbatch --version | cut -d' ' -f2): all as expected"
