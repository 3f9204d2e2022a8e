"""A SLURM of one machine on loopback, without accounting and without touching an installed one's settings."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,requeue_delay=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=low Nodes={host} Default=YES PriorityTier=1 GraceTime={grace}
PartitionName=high Nodes={host} PriorityTier=9 PreemptMode=OFF
"""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")


def missing():
    """Why there can be no cluster here, or None."""
    if os.geteuid() != 0:
        return "only root can start a SLURM node"
    absent = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    return f"not installed: {', '.join(absent)} (make test-slurm installs them)" if absent else None


def _path():
    return f"{os.environ['PATH']}:/usr/sbin"


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Cluster:
    """Starts on entry, and stops all that it started on exit."""

    def __init__(self, folder: Path, cpus: int = 2, grace: int = 20):
        self.folder, self.cpus, self.grace = folder, cpus, grace
        self.environment = {**os.environ, "PATH": _path(), "SLURM_CONF": str(folder / "slurm.conf")}
        self._started: list[subprocess.Popen] = []

    def __enter__(self):
        host = socket.gethostname().partition(".")[0]
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge.key"
        key.touch(0o400)
        key.write_bytes(os.urandom(1024))
        text = CONFIGURATION.format(
            host=host,
            folder=self.folder,
            controller=_free_port(),
            node=_free_port(),
            cpus=self.cpus,
            grace=self.grace,
        )
        (self.folder / "slurm.conf").write_text(text)
        at = f"{self.folder}/munge"
        try:
            self._start(
                *("munged", "--foreground", "--force", f"--socket={at}.socket", f"--key-file={key}"),
                *(f"--pid-file={at}.pid", f"--log-file={at}.log", f"--seed-file={at}.seed"),
            )
            self._wait(lambda: Path(f"{at}.socket").exists())
            self._start("slurmctld", "-D")
            self._start("slurmd", "-D")
            self._wait(lambda: "idle" in self.run("sinfo", "--noheader", "--format=%T", check=False).stdout)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        subprocess.run(["scancel", "--user=root"], env=self.environment, capture_output=True, check=False)
        for process in reversed(self._started):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run(self, *command, check=True):
        """Run a command of SLURM's."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=check)

    def _start(self, *command):
        output = (self.folder / f"{command[0]}.out").open("w")
        program = shutil.which(command[0], path=_path())
        self._started.append(
            subprocess.Popen(
                [program, *command[1:]], env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )
        )

    def _wait(self, ready, seconds=30):
        deadline = time.monotonic() + seconds
        while not ready():
            dead = [process.args[0] for process in self._started if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                told = "".join(
                    file.read_text()[-2000:] for file in sorted(self.folder.glob("*.[ol][uo][tg]"))
                )
                raise RuntimeError(f"SLURM does not start ({dead}):\n{told}")
            time.sleep(0.1)
