#!/bin/sh
# Ends what start.sh started in a folder, and its jobs.
export SLURM_CONF="$1/slurm.conf"
scancel --user "$(id -un)"
for _ in $(seq 50); do
  [ -z "$(squeue --noheader --states=RUNNING,COMPLETING)" ] && break
  sleep 0.2
done
kill "$(cat "$1/slurmd.pid")" "$(cat "$1/slurmctld.pid")"
