#!/bin/sh
# One node of Slurm in a folder, for tests: no root, no munge, no cgroups, no accounting database, nothing in /etc.
#   tests/slurm/start.sh /tmp/slurm && export SLURM_CONF=/tmp/slurm/slurm.conf PATH=/tmp/slurm/bin:$PATH
# The node says to have 64 cores, 256 GB and 2 GPUs, whatever it has: what jobs ask for is all that counts.
set -eu
PATH=$PATH:/usr/sbin
mkdir -p "$1"
cd "$1"
mkdir -p bin controller node
here=$(pwd)
ports=$(python3 -c 'import socket
free = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in free))')
cat >slurm.conf <<END
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=${ports% *}
SlurmdPort=${ports#* }
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/none
CredType=cred/none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$here/controller
SlurmdSpoolDir=$here/node
SlurmctldPidFile=$here/slurmctld.pid
SlurmdPidFile=$here/slurmd.pid
SlurmctldLogFile=$here/slurmctld.log
SlurmdLogFile=$here/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
# memory is looked at once a second, and a job with too much is killed
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
KillWait=2
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=localhost NodeAddr=127.0.0.1 CPUs=64 RealMemory=256000 Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes=localhost Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=localhost MaxTime=INFINITE State=UP
END
# Devices that every machine has stand in for GPUs.
echo "NodeName=localhost Name=gpu File=/dev/null,/dev/zero" >gres.conf
# Inside of a job Snakemake's plugin drops all SLURM_ variables, and its srun would look for the configuration in /etc.
printf '#!/bin/sh\nSLURM_CONF=%s/slurm.conf exec %s "$@"\n' "$here" "$(command -v srun)" >bin/srun
chmod +x bin/srun
export SLURM_CONF="$here/slurm.conf"
slurmctld
slurmd -N localhost
for _ in $(seq 100); do
  sinfo --noheader --format=%T 2>/dev/null | grep -q idle && exit
  sleep 0.1
done
echo "Slurm did not start: see $here/slurmctld.log and $here/slurmd.log" >&2
exit 1
