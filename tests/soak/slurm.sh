#!/bin/sh
# A SLURM of two nodes of one core on this machine, for tests: slurm.sh start|stop FOLDER. Nothing outside FOLDER is
# written; commands find it by SLURM_CONF=FOLDER/slurm.conf. Needs Debian's slurm-wlm and munge, and root.
set -eu
folder=$2
export SLURM_CONF="$folder/slurm.conf"
host=$(hostname -s)

kill_pid() {
    [ -s "$1" ] && kill "$(cat "$1")" 2>/dev/null || true
}

case "$1" in
stop)
    for name in ctld slurmd-n1 slurmd-n2 munged; do kill_pid "$folder/$name.pid"; done
    exit 0 ;;
esac

mkdir -p "$folder/state" "$folder/munge"
chmod 700 "$folder" "$folder/munge"
dd if=/dev/urandom of="$folder/munge/key" bs=1 count=1024 2>/dev/null
chmod 400 "$folder/munge/key"
munged --force --socket="$folder/munge/socket" --key-file="$folder/munge/key" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
cat >"$SLURM_CONF" <<C
ClusterName=tests
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=17100
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/ctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/ctld.log
SlurmdLogFile=$folder/slurmd-%n.log
SlurmdTimeout=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
ReturnToService=2
MaxArraySize=100001
JobAcctGatherType=jobacct_gather/none
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17101 CPUs=1 RealMemory=4000
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17102 CPUs=1 RealMemory=4000
PartitionName=p Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
C
slurmctld
slurmd -N n1
slurmd -N n2
